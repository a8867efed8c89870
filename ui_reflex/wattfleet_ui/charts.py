"""From the gateway's answers to what the overview draws: pure functions, no I/O, nothing made up.

A bucket that was not measured stays None all the way into the chart, where it is a gap. Sums say how much of what they
cover was measured. Times become labels here, in the household's zone, so that the browser's zone never shows.
"""

from bisect import bisect_left
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from wattfleet_ui.format import clock, local
from wattfleet_ui.gateway import Range, SocketRange
from wattfleet_ui.theme import OTHERS_COLOR, socket_color

# More bands than this cannot be told apart; the smallest are drawn together.
MOST_BANDS = 10

ChartRow = dict[str, float | str | None]


@dataclass(frozen=True)
class Window:
    """A span that the chart can show, the length of its buckets, and how they are spoken of."""

    key: str
    title: str
    length: timedelta
    step_s: int
    averages: str


WINDOWS = {
    window.key: window
    for window in (
        Window("24h", "Last 24 hours", timedelta(hours=24), 900, "15-minute averages"),
        Window("7d", "Last 7 days", timedelta(days=7), 3_600, "hourly averages"),
        Window("30d", "Last 30 days", timedelta(days=30), 14_400, "4-hour averages"),
    )
}


@dataclass(frozen=True)
class Band:
    """One stacked band of the chart: the key of its values in the rows, its name and its colour."""

    key: str
    name: str
    color: str


@dataclass(frozen=True)
class Tick:
    """A mark on the time axis."""

    at_ms: int
    label: str


@dataclass(frozen=True)
class StackedPower:
    """A chart: rows of mean watts per band, the bands from the bottom up, and the marks of the time axis."""

    rows: list[ChartRow]
    bands: list[Band]
    ticks: list[Tick]


def energy_wh(answer: Range, socket: SocketRange, start_ms: int, end_ms: int) -> float | None:
    """Watt-hours of a socket over the buckets that begin in [start_ms, end_ms); None when none was measured.

    A bucket's mean is over what was measured of it, so only that share counts.
    """
    hours = answer.step_s / 3600
    parts = [
        power_w * measured * hours
        for at_ms, power_w, measured in zip(answer.start_ms, socket.mean_power_w, socket.measured, strict=True)
        if start_ms <= at_ms < end_ms and power_w is not None
    ]
    return sum(parts) if parts else None


def since(answer: Range, start: datetime) -> Range:
    """The buckets of a range that begin at or after a time."""
    first = bisect_left(answer.start_ms, _ms(start))
    sockets = [
        socket.model_copy(update={"mean_power_w": socket.mean_power_w[first:], "measured": socket.measured[first:]})
        for socket in answer.sockets
    ]
    return answer.model_copy(update={"start_ms": answer.start_ms[first:], "sockets": sockets})


def measured_shares(answer: Range, numbers: Container[int]) -> list[tuple[float, str]]:
    """How much of the range was measured of each of these sockets, 0..1, with the socket's name."""
    return [
        (sum(socket.measured) / len(socket.measured), socket.name)
        for socket in answer.sockets
        if socket.number in numbers and socket.measured
    ]


def drawn_w(answer: Range) -> list[float | None]:
    """The watts that a home draws per bucket; None where a socket is missing that was measured at any time of it.

    A sum without the oven is not what the home draws, and would pass for a quiet moment. What a socket gives back (a
    solar inverter's watts are negative) is left out: the sun does not switch the refrigerator off.
    """
    heard = [
        socket.mean_power_w for socket in answer.sockets if any(power is not None for power in socket.mean_power_w)
    ]
    return [
        sum(power for power in bucket if power is not None and power > 0) if None not in bucket else None
        for bucket in zip(*heard, strict=True)
    ]


def always_on_w(totals: Sequence[float | None]) -> float | None:
    """What the home draws even when nothing happens: the 5th percentile (nearest rank) of the totals, in watts.

    None below 24 known totals (a quarter of a day at 15 minutes): too little to call anything "always".
    """
    known = sorted(total for total in totals if total is not None)
    if len(known) < 24:
        return None
    return known[max(0, -(-len(known) * 5 // 100) - 1)]


def stacked_power(answer: Range, zone: ZoneInfo) -> StackedPower:
    """The chart of a range: a row per bucket, placed at its middle; a band per socket that was measured at all."""
    groups = _bands(answer)
    rows: list[ChartRow] = []
    for i, start_ms in enumerate(answer.start_ms):
        row: ChartRow = {"at": start_ms + answer.step_s * 500, "label": _span(start_ms, answer.step_s, zone)}
        for band, members in groups:
            row[band.key] = _sum([member.mean_power_w[i] for member in members])
        rows.append(row)
    return StackedPower(rows, [band for band, _ in groups], time_ticks(answer, zone))


def time_ticks(answer: Range, zone: ZoneInfo) -> list[Tick]:
    """Marks at round local times: every three hours within two days, else at midnights, at most ten of them."""
    if not answer.start_ms:
        return []
    first, end = answer.start_ms[0], answer.start_ms[-1] + answer.step_s * 1000
    # Quarter hours, as some zones lie 45 minutes off and their full hours must be met.
    quarters = [local(at_ms, zone) for at_ms in range(-(-first // 900_000) * 900_000, end + 1, 900_000)]
    if end - first <= 2 * 86_400_000:
        marks = [at for at in quarters if at.minute == 0 and at.hour % 3 == 0]
        return [Tick(_ms(at), clock(at)) for at in marks]
    days = [after for before, after in pairwise(quarters) if before.date() != after.date()]
    every = -(-len(days) // 10) or 1
    return [Tick(_ms(at), f"{at:%a} {at.day}" if len(days) <= 10 else f"{at.day} {at:%b}") for at in days[::every]]


def _bands(answer: Range) -> list[tuple[Band, list[SocketRange]]]:
    colored = [
        (Band(f"socket{socket.number}", socket.name, socket_color(i)), socket)
        for i, socket in enumerate(answer.sockets)
        if any(power is not None for power in socket.mean_power_w)
    ]
    if len(colored) <= MOST_BANDS:
        return [(band, [socket]) for band, socket in colored]
    by_use = sorted(colored, key=lambda pair: _use(pair[1]), reverse=True)
    kept = {band.key for band, _ in by_use[: MOST_BANDS - 1]}
    others = [socket for band, socket in colored if band.key not in kept]
    drawn = [(band, [socket]) for band, socket in colored if band.key in kept]
    return [*drawn, (Band("others", f"{len(others)} others", OTHERS_COLOR), others)]


def _use(socket: SocketRange) -> float:
    return sum(power for power in socket.mean_power_w if power is not None)


def _sum(powers: list[float | None]) -> float | None:
    known = [power for power in powers if power is not None]
    return round(sum(known), 1) if known else None


def _span(start_ms: int, step_s: int, zone: ZoneInfo) -> str:
    start, end = local(start_ms, zone), local(start_ms + step_s * 1000, zone)
    return f"{start:%a} {start.day} {start:%b}, {clock(start)}–{clock(end)}"


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
