"""What the operator needs of the outside: small doors, and the World that holds them.

Each `ensure…` looks first, changes only what differs and may be repeated at any time. Every method raises NotYet when
its part of the world does not answer, Refused when it says no for good. On one machine these are a nats-server, a
VictoriaMetrics, processes and folders; in a cluster the same doors lead to Secrets, Deployments and custom resources.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from wattfleet_tenants.crd import Household, Shard, Status
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.placement import Place
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.credential import Credential


class Broker(Protocol):
    """NATS: accounts, streams, and which households may use them."""

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs that agents and the gateway connect to."""

    async def ensure_accounts(self, shard: ShardId) -> None:
        """The shard's two accounts are in force, and its processes and the gateway have credentials in the vault."""

    async def ensure_streams(self, shard: ShardId) -> None:
        """The shard's streams with their consumers, and its buckets, are there."""

    async def assign(self, shard: ShardId, household: HouseholdId, quota: Quota) -> None:
        """The shard takes this household's readings, as much of them as `quota` allows."""

    async def leave(self, shard: ShardId, household: HouseholdId) -> datetime | None:
        """The household sends no more, and the writer still takes what it has sent. Returns since when, by the
        broker's clock; None when it is not assigned."""

    async def oldest_waiting(self, shard: ShardId) -> datetime | None:
        """When, by the broker's clock, the oldest reading in the shard's streams came in; None when all are settled."""

    async def waiting(self, shard: ShardId) -> int:
        """How many bundles of readings wait in the shard's streams to be stored."""

    async def unassign(self, shard: ShardId, household: HouseholdId) -> None:
        """The shard's writer refuses this household's readings."""

    async def purge_quarantine(self, shard: ShardId, household: HouseholdId) -> None:
        """Nothing is kept of what was refused of the household."""

    async def accepts(self, shard: ShardId, credential: Credential) -> bool:
        """Whether `credential` is neither revoked nor signed by a key that is no longer used."""

    async def mint(self, shard: ShardId, household: HouseholdId, renewed: Credential | None) -> Credential:
        """A new credential, made out to the key of `renewed` when there is one. Nothing outside changes."""

    async def revoke(self, shard: ShardId, user_key: str) -> None:
        """Credentials made out to this public key are refused from now on, and whoever uses one is cut off."""

    async def remove(self, shard: ShardId) -> None:
        """Nothing of the shard is left: no stream, no account, no key. One of its name can come later."""


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """The base URLs of a shard's store. A tenant is a URL and nothing else: in a cluster of stores its path."""

    insert: str
    select: str


class Store(Protocol):
    """The time-series store of each shard."""

    async def ensure(self, shard: Shard) -> StoreUrls:
        """The shard's store runs as wished. Returns where it is written to and read from."""

    async def check(self, shard: ShardId) -> None:
        """Raises NotYet unless the shard's store answers now."""

    async def has_series(self, shard: ShardId, household: HouseholdId) -> bool:
        """Whether anything is found that the household sent."""

    async def erase(self, shard: ShardId, household: HouseholdId) -> None:
        """The household's series are deleted."""

    async def stop(self, shard: ShardId) -> None:
        """The shard's store no longer runs. What it stored stays."""


@dataclass(frozen=True, slots=True)
class Running:
    """How many of a shard's writers and readers can do their work."""

    writers: int = 1
    readers: int = 1


class Workloads(Protocol):
    """The ingests, writers and readers of each shard."""

    async def ensure(self, shard: Shard, store: StoreUrls) -> str:
        """The shard's ingest, writer and reader run as wished. Returns the reader's URL."""

    async def check(self, shard: ShardId) -> Running:
        """How many of them work. Raises NotYet unless the shard's ingest, a writer and a reader say that they can do
        their work now."""

    async def stop(self, shard: ShardId) -> None:
        """The shard's ingest, writer and reader no longer run."""


class Vault(Protocol):
    """Secrets, kept once each: a name answers the same text for ever, over crashes, until it is forgotten."""

    async def keep(self, name: str, make: Callable[[], str]) -> str:
        """The text kept under `name`; when there is none, `make()` is stored first and then returned."""

    async def replace(self, name: str, text: str) -> None:
        """Stores `text` under `name`, whole or not at all."""

    async def forget(self, name: str) -> None:
        """Removes what is kept under `name`, if anything."""


class Homes(Protocol):
    """The home file of each household: the one secret that it has."""

    async def read(self, household: HouseholdId) -> HomeFile | None:
        """The home file; None when there is none, or none that can be used."""

    async def write(self, home: HomeFile) -> None:
        """Replaces the household's home file, whole or not at all."""

    async def remove(self, household: HouseholdId) -> None:
        """Removes the household's home file, if there is one."""


class Resources(Protocol):
    """The custom resources, as last seen. Looking costs nothing; only what changes them goes outside."""

    def changed(self) -> bool:
        """Whether any of them may have changed since this was last asked."""

    def households(self) -> Sequence[Household]:
        """All households."""

    def household(self, household: HouseholdId) -> Household | None:
        """One household, or None."""

    def shards(self) -> Sequence[Shard]:
        """All shards."""

    def shard(self, shard: ShardId) -> Shard | None:
        """One shard, or None."""

    def phases(self, shard: ShardId) -> Mapping[int | None, int]:
        """How many households the shard carries, by their send phase in ms (None: they were given none).

        Asked at every birth, so it must not look at all households each time.
        """

    async def hold(self, resource: Household | Shard) -> None:
        """The resource does not go before `finish`, whoever deletes it."""

    async def place(self, household: Household, place: Place) -> None:
        """Holds a household and records where it is carried and when it sends, before anything is made for it there.

        From the moment of the call, before anything is awaited, `phases` counts it: the last free place is given once.
        """

    async def report(self, resource: Household | Shard, status: Status) -> None:
        """Writes how the resource stands."""

    async def finish(self, resource: Household | Shard) -> None:
        """Lets go of a deleted resource, after everything that belonged to it."""


class News(Protocol):
    """What an admin should know, and nothing else."""

    async def tell(self, resource: Household | Shard, reason: str, message: str, *, warning: bool = False) -> None:
        """Says it once. Never raises: news that could not be told changes nothing."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class World:
    """All the doors."""

    broker: Broker
    store: Store
    workloads: Workloads
    vault: Vault
    homes: Homes
    resources: Resources
    news: News
    clock: Callable[[], datetime] = _now
