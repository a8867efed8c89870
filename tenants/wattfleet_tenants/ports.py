"""What the writer and the reader need of the world, as small protocols; `adapters/` fulfil them.

Every port speaks in two errors: `Unavailable` when the other side cannot do it now (ask again later), `BadRequest`
when asking again would not help. Nothing else of a broker or a store shows through.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from wattfleet_tenants import answers
from wattfleet_tenants.household import HouseholdId


class Unavailable(Exception):
    """The other side cannot answer now; the message says which and why, without secrets."""


class BadRequest(Exception):
    """The question itself is wrong; the message says what about it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the broker delivered it. position: its number in the stream; receipt: what acknowledges it."""

    subject: str
    payload: bytes
    position: int
    receipt: str


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A message that is not stored, with a stable reason. household and sequence only as far as they are known."""

    message: Message
    reason: str
    household: HouseholdId | None
    sequence: int | None


class Inbox(Protocol):
    """Where readings arrive. What was fetched and not acknowledged comes again."""

    @property
    def waiting(self) -> int:
        """How many messages were not fetched yet, as last heard."""
        ...

    async def fetch(self, most: int, wait_s: float) -> list[Message]:
        """Up to `most` messages, as many as there are within `wait_s` seconds; raises Unavailable."""
        ...

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Lets the broker forget these messages. When it is not heard, they come again; raises Unavailable."""
        ...


class Assignments(Protocol):
    """Which households this shard carries."""

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

    async def insert(self, body: bytes) -> None:
        """Hands over samples in Prometheus' text format; done means: in the store's memory. Raises Unavailable."""
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
