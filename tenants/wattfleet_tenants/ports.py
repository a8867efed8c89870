"""What ingest, writer and reader need of the world, as small protocols; `adapters/` fulfil them.

Every port speaks in two errors: `Unavailable` when the other side cannot do it now (ask again later), `BadRequest`
when asking again would not help. Nothing else of a broker or a store shows through.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wattfleet_tenants import answers
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Settled, Totals
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.bundle import Bundle


class Unavailable(Exception):
    """The other side cannot answer now; the message says which and why, without secrets."""


class BadRequest(Exception):
    """The question itself is wrong; the message says what about it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One bundle as the broker delivered it. receipt: what acknowledges it, or gives it back."""

    bundle: Bundle
    receipt: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A home's message that is not stored, with a stable reason. household and sequence only as far as known.

    identity: the same whenever the same message is refused again.
    """

    identity: str
    payload: bytes
    reason: str
    household: HouseholdId | None
    sequence: int | None


class Inbox(Protocol):
    """Where the bundles of one lane arrive. What was fetched and not acknowledged comes again."""

    @property
    def waiting(self) -> int:
        """How many bundles were not fetched yet, as last heard."""
        ...

    async def fetch(self, most_bytes: int, wait_s: float) -> list[Delivery]:
        """As many bundles as there are, up to `most_bytes`, within `wait_s` seconds; raises Unavailable."""
        ...

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Lets the broker forget these bundles. When it is not heard, they come again; raises Unavailable."""
        ...

    async def give_back(self, receipts: Sequence[str]) -> None:
        """Has the broker deliver these bundles again, soon and to any writer; raises Unavailable."""
        ...


class Ledger(Protocol):
    """Counts exactly what became of every message that an ingest acknowledged."""

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Records what became of bundles; one that is recorded already changes nothing. Raises Unavailable."""
        ...

    async def totals(self) -> dict[Lane, Totals]:
        """How the accounts stand, for each lane; raises Unavailable."""
        ...


class Quotas(Protocol):
    """What households may take of this shard."""

    @property
    def quotas(self) -> Mapping[HouseholdId, Quota]:
        """The quotas of those households that have one of their own, as last heard; another mapping after a change."""
        ...


class Assignments(Quotas, Protocol):
    """Which households this shard carries."""

    def edition(self) -> int:
        """Another number after every change: what was said of a household is so until then. Raises Unavailable when
        there may have been one that was not heard of."""
        ...

    async def foreign(self, households: Collection[HouseholdId]) -> set[HouseholdId]:
        """Those of `households` that the shard does not carry; raises Unavailable when that cannot be told."""
        ...


class Quarantine(Protocol):
    """Keeps what was refused, for the household and the platform's admins to see."""

    async def keep(self, refused: Sequence[RefusedMessage]) -> None:
        """Returns when all are kept, once each however often it is asked; raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class StoreRun:
    """One look at the store. started: names this run of its process; rows_dropped: what it silently threw away."""

    started: str
    rows_dropped: int


class Store(Protocol):
    """The time-series database, from the side where samples go in."""

    async def insert_rows(self, rows: Sequence[memoryview]) -> None:
        """Hands over samples as `writer.render` writes them; done means: in the store's memory. Raises Unavailable."""
        ...

    async def insert_runs(self, body: Sequence[memoryview], before: asyncio.Event) -> None:
        """Hands over samples as `writer.runs` writes them, not to be worked on until `before` is set or some time has
        passed; done means: in the store's memory. Raises Unavailable."""
        ...

    async def look(self) -> StoreRun:
        """Which run of the store this is; raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Sums:
    """Per bucket of one socket, the sum of its readings (W, None without any) and how many there were."""

    sum_w: list[float | None]
    count: list[int]


@dataclass(frozen=True, slots=True)
class BucketRun:
    """Consecutive buckets of one length: bucket i is [first_start_ms + i * length_ms, … + (i + 1) * length_ms)."""

    first_start_ms: int
    length_ms: int
    count: int


class History(Protocol):
    """The time-series database, from the side where questions come in."""

    async def last(self, household: HouseholdId, at_ms: int, within_s: int) -> list[answers.SocketNow]:
        """The last reading of every socket in the `within_s` seconds up to `at_ms`; raises Unavailable."""
        ...

    async def sums(self, household: HouseholdId, run: BucketRun) -> dict[int, Sums]:
        """What was measured in each bucket of `run`, by socket number; raises Unavailable."""
        ...


class Refusals(Protocol):
    """What the quarantine holds."""

    async def refused(self, household: HouseholdId) -> list[answers.Refused]:
        """Per reason, what was refused of `household`; raises Unavailable."""
        ...
