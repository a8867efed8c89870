"""A home's readings as its people see them: the reader's columns, with names beside the numbers.

Nothing is estimated and nothing hidden: a value that was not measured is null, and `measured` says which share of a
bucket's minutes has a reading. Sockets that have a name but no reading are there too, as are readings of sockets that
nobody named yet. Functions here are pure.
"""

from collections.abc import Mapping
from datetime import date
from typing import Literal, Protocol

from pydantic import BaseModel
from wattfleet_tenants.answers import Buckets, Now, Refused, SocketBuckets
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS, energy_wh

CalendarUnit = Literal["hour", "day", "month"]
SocketState = Literal["online", "offline", "silent"]

ONLINE_WITHIN_MS = 5 * 60_000
"""The last reading is at most about three minutes old when its successor comes: a minute long, sent within the next,
and replaced a minute later. Two missed ones more, and the home is away."""


class History(Protocol):
    """What was measured, as the reader at `reader_url` tells it; see `wattfleet_tenants.adapters.reader_client`.

    Every method raises `ports.BadRequest` for what the reader refuses, `ports.Unavailable` when it cannot answer.
    """

    async def now(self, reader_url: str, household: HouseholdId) -> Now: ...  # noqa: D102

    async def range(  # noqa: D102
        self, reader_url: str, household: HouseholdId, start_ms: int, end_ms: int, step_s: int
    ) -> Buckets: ...

    async def energy(  # noqa: D102
        self, reader_url: str, household: HouseholdId, start: date, end: date, by: CalendarUnit, time_zone: str
    ) -> Buckets: ...

    async def refused(self, reader_url: str, household: HouseholdId) -> list[Refused]: ...  # noqa: D102


class SocketNowView(BaseModel):
    """A socket's last reading. power_w: mean W over the minute from `at_ms`, null unless the socket is online."""

    number: int
    name: str
    power_w: float | None
    at_ms: int | None
    state: SocketState


class NowView(BaseModel):
    """A home's last readings. power_w: the sum over the online sockets, null when there is none."""

    power_w: float | None
    at_ms: int | None
    sockets: list[SocketNowView]


class SocketRangeView(BaseModel):
    """One socket by bucket: mean power in W (null: not measured) and the measured share of the bucket, 0 to 1."""

    number: int
    name: str
    mean_power_w: list[float | None]
    measured: list[float]


class RangeView(BaseModel):
    """Mean power in buckets of `step_s` seconds that begin at `start_ms`."""

    step_s: int
    start_ms: list[int]
    sockets: list[SocketRangeView]


class SocketEnergyView(BaseModel):
    """One socket by calendar bucket: energy in Wh (null: not measured) and the measured share of it, 0 to 1."""

    number: int
    name: str
    energy_wh: list[float | None]
    measured: list[float]


class EnergyView(BaseModel):
    """Energy in hours, days or months of the home's own calendar. Bucket i is [start_ms[i], end_ms[i])."""

    by: CalendarUnit
    time_zone: str
    start_ms: list[int]
    end_ms: list[int]
    sockets: list[SocketEnergyView]


def socket_name(names: Mapping[int, str], number: int) -> str:
    """What the home calls that socket."""
    return names.get(number, f"Socket {number}")


def now_view(now: Now, names: Mapping[int, str], now_ms: int) -> NowView:
    """The last readings, as seen at `now_ms` (Unix time, ms)."""
    last = {socket.number: socket for socket in now.sockets}
    sockets = []
    for number in sorted(last.keys() | names.keys()):
        reading = last.get(number)
        online = reading is not None and now_ms - reading.at_ms < ONLINE_WITHIN_MS
        sockets.append(
            SocketNowView(
                number=number,
                name=socket_name(names, number),
                power_w=reading.power_w if reading and online else None,
                at_ms=reading.at_ms if reading else None,
                state="online" if online else "offline" if reading else "silent",
            )
        )
    powers = [socket.power_w for socket in sockets if socket.power_w is not None]
    times = [socket.at_ms for socket in sockets if socket.power_w is not None and socket.at_ms is not None]
    return NowView(power_w=sum(powers) if powers else None, at_ms=max(times, default=None), sockets=sockets)


def range_view(buckets: Buckets, names: Mapping[int, str], step_s: int) -> RangeView:
    """Mean power by bucket."""
    sockets = [
        SocketRangeView(
            number=socket.number,
            name=socket_name(names, socket.number),
            mean_power_w=[
                None if total is None else total / count
                for total, count in zip(socket.sum_w, socket.count, strict=True)
            ],
            measured=_measured(buckets, socket),
        )
        for socket in _all_sockets(buckets, names)
    ]
    return RangeView(step_s=step_s, start_ms=buckets.start_ms, sockets=sockets)


def energy_view(buckets: Buckets, names: Mapping[int, str], by: CalendarUnit, time_zone: str) -> EnergyView:
    """Energy by calendar bucket."""
    sockets = [
        SocketEnergyView(
            number=socket.number,
            name=socket_name(names, socket.number),
            energy_wh=[None if total is None else energy_wh(total) for total in socket.sum_w],
            measured=_measured(buckets, socket),
        )
        for socket in _all_sockets(buckets, names)
    ]
    return EnergyView(by=by, time_zone=time_zone, start_ms=buckets.start_ms, end_ms=buckets.end_ms, sockets=sockets)


def _all_sockets(buckets: Buckets, names: Mapping[int, str]) -> list[SocketBuckets]:
    found = {socket.number: socket for socket in buckets.sockets}
    length = len(buckets.start_ms)
    return [
        found.get(number) or SocketBuckets(number=number, sum_w=[None] * length, count=[0] * length)
        for number in sorted(found.keys() | names.keys())
    ]


def _measured(buckets: Buckets, socket: SocketBuckets) -> list[float]:
    """The share of each bucket's minutes, counted by their starts, that has a reading."""
    bounds = zip(buckets.start_ms, buckets.end_ms, socket.count, strict=True)
    return [count / max(1, -(-end // INTERVAL_MS) - -(-start // INTERVAL_MS)) for start, end, count in bounds]
