"""The overview's figures from the gateway's answers: today and how it compares, who used it, each socket's line.

Pure functions. What they return is already text in the person's terms, because the page's state holds only what the
person may read, and the page itself computes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from wattfleet_ui import charts
from wattfleet_ui.format import clock, kilowatt_hours, percent, seen, watts
from wattfleet_ui.gateway import Energy, Now, Quarantined, Range
from wattfleet_ui.theme import socket_color

# Readings reach the store a little after their minute: newer buckets would look as if something were missing.
SETTLED = timedelta(minutes=2)

# A socket is named when it was measured less than the home was, by this share of the time; less is nobody's gap.
_STANDS_OUT = 0.005

_REASONS = {
    "implausible-power": "a power no socket can carry",
    "future": "a time in the future",
    "too-old": "a time too long ago",
    "malformed": "a message that could not be read",
    "oversized": "a message that was too long",
    "over-quota": "more sockets or thermometers than this home may have",
}


@dataclass(frozen=True)
class Spans:
    """The times that an overview asks for, all from one `now` in the household's zone."""

    now: datetime
    midnight: datetime
    yesterday: datetime
    settled: datetime

    @classmethod
    def at(cls, now: datetime) -> "Spans":
        """The spans of a moment; `now` carries the household's zone."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(now, midnight, midnight - timedelta(days=1), floor(now - SETTLED, 900))

    def same_time_yesterday(self) -> datetime:
        """The last settled quarter, a calendar day earlier by the household's clock, whatever the day's length."""
        return self.settled - timedelta(days=1)


@dataclass(frozen=True)
class Comparison:
    """Today against yesterday up to the same time: a whole percentage and which way, or why there is none."""

    text: str = ""
    direction: str = ""
    note: str = ""


@dataclass(frozen=True)
class Consumer:
    """A socket in the list of today's consumers; `width` is its bar against the largest, as a CSS percentage."""

    name: str
    color: str
    energy: str
    share: str
    width: str


@dataclass(frozen=True)
class SocketLine:
    """A socket in the table."""

    number: int
    name: str
    color: str
    state: str
    seen: str
    power: str
    today: str


def floor(at: datetime, step_s: int) -> datetime:
    """The last multiple of `step_s` since 1970 at or before `at`, in the same zone."""
    return datetime.fromtimestamp(int(at.timestamp()) // step_s * step_s, at.tzinfo)


def total_wh(today: Energy) -> float | None:
    """The home's energy so far, in Wh; None when nothing was measured."""
    parts = [energy for socket in today.sockets for energy in socket.energy_wh if energy is not None]
    return sum(parts) if parts else None


def compare(two_days: Range, spans: Spans) -> Comparison:
    """Compare energy up to the last settled quarter with yesterday's, for sockets that were measured on both days.

    A day of which less than nine tenths was measured is not compared: the difference would be the gap's.
    """
    today = (_ms(spans.midnight), _ms(spans.settled))
    yesterday = (_ms(spans.yesterday), _ms(spans.same_time_yesterday()))
    sums = [0.0, 0.0]
    for socket in two_days.sockets:
        pair = [charts.energy_wh(two_days, socket, *span) for span in (today, yesterday)]
        if None not in pair:
            sums = [total + (energy or 0.0) for total, energy in zip(sums, pair, strict=True)]
    if sums[1] <= 0 or min(_measured(two_days, *today), _measured(two_days, *yesterday)) < 0.9:
        return Comparison(note="no full comparison with yesterday")
    change = sums[0] / sums[1] - 1
    note = f"vs yesterday, until {clock(spans.settled)}"
    if abs(change) < 0.005:
        return Comparison("0 %", "same", note)
    return Comparison(f"{abs(change):.0%}".replace("%", " %"), "up" if change > 0 else "down", note)


def consumers(today: Energy) -> list[Consumer]:
    """The sockets that used something today, the largest first; at most six, as the card is high."""
    used = [
        (sum(energy for energy in socket.energy_wh if energy is not None), socket.name, socket_color(i))
        for i, socket in enumerate(today.sockets)
    ]
    used = sorted((line for line in used if line[0] > 0), key=lambda line: line[0], reverse=True)
    whole = sum(energy for energy, _, _ in used)
    return [
        Consumer(name, color, kilowatt_hours(energy), percent(energy / whole), f"{energy / used[0][0] * 100:.1f}%")
        for energy, name, color in used[:6]
    ]


def socket_lines(now: Now, today: Energy, at: datetime) -> list[SocketLine]:
    """A line per socket in the household's order; `at` is now in the household's zone."""
    used = {socket.number: socket.energy_wh for socket in today.sockets}
    lines = []
    for i, socket in enumerate(now.sockets):
        known = [energy for energy in used.get(socket.number, []) if energy is not None]
        lines.append(
            SocketLine(
                number=socket.number,
                name=socket.name,
                color=socket_color(i),
                state=socket.state,
                seen=seen(socket.at_ms, at),
                power=watts(socket.power_w),
                today=kilowatt_hours(sum(known) if known else None),
            )
        )
    return lines


def measured_note(shares: list[tuple[float, str]]) -> str:
    """A sentence when something is missing, else nothing; `shares` say what was measured of each socket, by its name.

    It names the socket that misses most: the gap of a small one is hard to find in a stack of large ones.
    """
    share = sum(part for part, _ in shares) / len(shares) if shares else 1.0
    if share >= 1:
        return ""
    least, name = min(shares)
    whose = f", most of all of {name}" if share - least > _STANDS_OUT else ""
    return f"{percent(share)} measured; gaps are times without readings{whose}"


def quarantine_note(refused: list[Quarantined], zone: ZoneInfo, now: datetime) -> str:
    """A sentence on what was refused of this home, else nothing."""
    if not refused:
        return ""
    reasons = "; ".join(
        f"{entry.count} × {_REASONS.get(entry.reason, entry.reason.replace('-', ' '))}"
        for entry in sorted(refused, key=lambda entry: -entry.count)
    )
    last = seen(max(entry.last_ms for entry in refused), now.astimezone(zone))
    return f"Some messages of this home were not stored: {reasons}. Last: {last}."


def _measured(two_days: Range, start_ms: int, end_ms: int) -> float:
    heard = [socket for socket in two_days.sockets if any(socket.measured)]
    shares = [
        share
        for socket in heard
        for at_ms, share in zip(two_days.start_ms, socket.measured, strict=True)
        if start_ms <= at_ms < end_ms
    ]
    return sum(shares) / len(shares) if shares else 0.0


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
