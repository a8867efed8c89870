"""Our own ports, answered from memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace

from wattfleet_gateway.edge import EdgeUnavailable, Hear
from wattfleet_gateway.fleet import Placement
from wattfleet_gateway.readings import CalendarUnit
from wattfleet_tenants.answers import Buckets, Now, Refused, SocketBuckets, SocketNow
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.shard import ShardId

READER_URL = "http://reader.invalid"
PLACED = Placement("Europe/Paris", True, "Ready", ShardId("s1"), READER_URL, ("nats://edge.invalid",))


class FakeFleet:
    """Every household is placed, unless told otherwise. asked: every wish for a new one, in order.

    A household whose placement is the empty one is lacked. error: what any question is answered with.
    """

    def __init__(self) -> None:
        self.placements: defaultdict[HouseholdId, Placement] = defaultdict(lambda: PLACED)
        self.asked: list[tuple[HouseholdId, str, str]] = []
        self.error: Exception | None = None

    def placement(self, household: HouseholdId) -> Placement:
        return self.placements[household]

    async def create(self, household: HouseholdId, time_zone: str, region: str) -> None:
        self.asked.append((household, time_zone, region))
        if self.error:
            raise self.error

    async def lacks(self, household: HouseholdId) -> bool:
        if self.error:
            raise self.error
        return self.placements[household] == Placement()

    def home_file_command(self, household: HouseholdId) -> str:
        return f"fetch {household}"


@dataclass
class FakeHistory:
    """Steps of the given readings; whoever has none has no sockets. asked: every question, in order."""

    last: dict[HouseholdId, list[SocketNow]] = field(default_factory=dict)
    power_w: dict[HouseholdId, dict[int, float]] = field(default_factory=dict)
    quarantined: dict[HouseholdId, list[Refused]] = field(default_factory=dict)
    fails_at_ms: int | None = None
    error: Exception | None = None
    asked: list[SimpleNamespace] = field(default_factory=list)

    async def now(self, reader_url: str, household: HouseholdId) -> Now:
        self._note("now", reader_url, household)
        return Now(sockets=self.last.get(household, []))

    async def range(self, reader_url: str, household: HouseholdId, start_ms: int, end_ms: int, step_s: int) -> Buckets:
        self._note("range", reader_url, household, start_ms=start_ms, end_ms=end_ms, step_s=step_s)
        if self.fails_at_ms is not None and start_ms <= self.fails_at_ms < end_ms:
            raise Unavailable("it broke here")
        starts = list(range(start_ms, end_ms, step_s * 1000))
        return self._buckets(household, starts, [min(at + step_s * 1000, end_ms) for at in starts])

    async def energy(
        self, reader_url: str, household: HouseholdId, start: date, end: date, by: CalendarUnit, time_zone: str
    ) -> Buckets:
        self._note("energy", reader_url, household, start=start, end=end, by=by, time_zone=time_zone)
        return self._buckets(household, [0], [3_600_000])

    async def refused(self, reader_url: str, household: HouseholdId) -> list[Refused]:
        self._note("refused", reader_url, household)
        return self.quarantined.get(household, [])

    def _buckets(self, household: HouseholdId, starts: list[int], ends: list[int]) -> Buckets:
        minutes = [(end - start) // 60_000 for start, end in zip(starts, ends, strict=True)]
        sockets = [
            SocketBuckets(number=number, sum_w=[power_w * count for count in minutes], count=minutes)
            for number, power_w in self.power_w.get(household, {}).items()
        ]
        return Buckets(start_ms=starts, end_ms=ends, sockets=sockets)

    def _note(self, what: str, reader_url: str, household: HouseholdId, **more: object) -> None:
        assert reader_url == READER_URL
        self.asked.append(SimpleNamespace(what=what, household=household, **more))
        if self.error:
            raise self.error


@dataclass
class FakeEdge:
    """Remembers commands, and lets a test answer them. leases: how many are open now."""

    commands: list[tuple[HouseholdId, str]] = field(default_factory=list)
    hearing: list[Hear] = field(default_factory=list)
    unreachable: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def lease(
        self, placement: Placement, household: HouseholdId, command: bytes, hear: Hear
    ) -> AsyncIterator[None]:
        if self.unreachable:
            raise EdgeUnavailable("nobody there")
        self.commands.append((household, command.decode()))
        self.hearing.append(hear)
        try:
            yield
        finally:
            self.hearing.remove(hear)
