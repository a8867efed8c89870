"""A writer against fakes of its ports, which can be away, restart and forget."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Settled, Totals
from wattfleet_tenants.ports import Delivery, RefusedMessage, StoreRun, Unavailable
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.builders import bundle_of
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.writer import World, Writer

HOME = HouseholdId("h0123456789abcdefghij")
STRANGER = HouseholdId("h9999999999999999999z")
BUNDLE_BYTES = 600_000
"""As large as bundles get."""


class FakeInbox:
    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.acknowledged: list[str] = []
        self.waiting = 0
        self.fetched = 0
        self._unsettled: dict[str, Delivery] = {}

    def deliver(self, *payloads: bytes, household: str = HOME) -> str:
        number = len(self._unsettled) + len(self.acknowledged) + 1
        bundle = bundle_of([household.encode()] * len(payloads), payloads, "run", number, 10 * (number - 1))
        delivery = Delivery(bundle, f"receipt-{number}", BUNDLE_BYTES)
        self.deliveries.append(delivery)
        self._unsettled[delivery.receipt] = delivery
        return delivery.receipt

    async def fetch(self, most_bytes: int, wait_s: float) -> list[Delivery]:
        await asyncio.sleep(0.01)
        room = max(0, most_bytes // BUNDLE_BYTES)
        taken, self.deliveries = self.deliveries[:room], self.deliveries[room:]
        self.fetched += len(taken)
        return taken

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        self.acknowledged.extend(receipts)
        for receipt in receipts:
            del self._unsettled[receipt]

    async def give_back(self, receipts: Sequence[str]) -> None:
        self.deliveries.extend(self._unsettled[receipt] for receipt in receipts)


class FakeLedger:
    def __init__(self) -> None:
        self.away = False
        self.settled: list[Settled] = []

    async def settle(self, settled: Sequence[Settled]) -> None:
        if self.away:
            raise Unavailable("the ledger is away")
        self.settled.extend(settled)

    async def totals(self) -> dict[Lane, Totals]:
        return {}


class FakeStore:
    """Keeps what it was given in memory; a restart loses all of it."""

    def __init__(self) -> None:
        self.away = False
        self.bodies: list[bytes] = []
        self.starts = 1
        self.dropped = 0
        self.inserts = 0

    @property
    def samples(self) -> list[bytes]:
        return sorted(b"".join(self.bodies).splitlines())

    def restart(self) -> None:
        self.starts += 1
        self.bodies = []

    async def insert_rows(self, rows: Sequence[memoryview]) -> None:
        if self.away:
            raise Unavailable("the store is away")
        self.inserts += 1
        self.bodies.append(b"".join(rows))

    async def insert_runs(self, body: Sequence[memoryview], before: asyncio.Event) -> None:
        raise NotImplementedError("so few messages are never written as runs")

    async def look(self) -> StoreRun:
        if self.away:
            raise Unavailable("the store is away")
        return StoreRun(str(self.starts), self.dropped)


class FakeQuarantine:
    def __init__(self) -> None:
        self.away = False
        self.kept: list[RefusedMessage] = []

    async def keep(self, refused: Sequence[RefusedMessage]) -> None:
        if self.away:
            raise Unavailable("the quarantine is away")
        self.kept.extend(refused)


class FakeAssignments:
    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.carried = {HOME}
        self.quotas: dict[HouseholdId, Quota] = {}

    def edition(self) -> int:
        if self.away:
            raise Unavailable("nobody knows")
        self.asked += 1
        return hash(frozenset(self.carried))

    async def foreign(self, households: Collection[HouseholdId]) -> set[HouseholdId]:
        if self.away:
            raise Unavailable("nobody knows")
        return set(households) - self.carried


class WriterAlone:
    """A writer whose whole world is fake."""

    def __init__(self) -> None:
        self.inbox, self.store, self.quarantine = FakeInbox(), FakeStore(), FakeQuarantine()
        self.assignments, self.ledger = FakeAssignments(), FakeLedger()
        self.health = Health()

    @asynccontextmanager
    async def writing(self, hold_s: float, lane: Lane = Lane.LIVE) -> AsyncIterator[None]:
        world = World({lane: self.inbox}, self.store, self.quarantine, self.assignments, self.ledger)
        stopping = asyncio.Event()
        running = asyncio.create_task(Writer(world, Limits(1000), self.health, hold_s).run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)
