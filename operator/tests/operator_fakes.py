"""Hand-written fakes of the operator's own ports: a world in memory that can fail once, at any outside call."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from wattfleet_operator.credential import LIFETIME, Credential, read_credential
from wattfleet_operator.errors import NotYet
from wattfleet_operator.ports import Running, StoreUrls, World
from wattfleet_tenants.crd import Household, HouseholdStatus, Metadata, Shard, ShardSpec, ShardStatus, Status
from wattfleet_tenants.credentials import Identity, creds_file, new_identity, scoped_user_token
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.placement import Place
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.shard import ShardId

S1 = ShardId("s1")
SERVERS = ("nats://127.0.0.1:4222",)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BROKER_AHEAD = timedelta(hours=3)
"""The broker's clock is not the operator's."""


class Crash(Exception):
    """The operator died at this call."""


@dataclass
class Calls:
    """Every outside call, in order. crash_at: dies at the call of that number, after or instead of doing it."""

    made: list[str] = field(default_factory=list)
    crash_at: int | None = None
    done_before_crash: bool = False

    def __call__(self, name: str, act: Callable[[], None] = lambda: None) -> None:
        crashes = len(self.made) == self.crash_at
        self.made.append(name)
        if not crashes or self.done_before_crash:
            act()
        if crashes:
            raise Crash(name)


@dataclass
class FakeBroker:
    calls: Calls
    accounts: set[ShardId] = field(default_factory=set)
    streams: set[ShardId] = field(default_factory=set)
    assigned: set[tuple[ShardId, HouseholdId]] = field(default_factory=set)
    quotas: dict[HouseholdId, Quota] = field(default_factory=dict)
    left: dict[HouseholdId, datetime] = field(default_factory=dict)
    oldest: datetime | None = None
    quarantined: set[HouseholdId] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    minted: list[Credential] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: NOW
    servers: tuple[str, ...] = SERVERS

    def __post_init__(self) -> None:
        self.edge, self.signing_key = new_identity("account"), new_identity("account")

    async def ensure_accounts(self, shard: ShardId) -> None:
        self.calls("ensure accounts", lambda: self.accounts.add(shard))

    async def ensure_streams(self, shard: ShardId) -> None:
        assert shard in self.accounts
        self.calls("ensure streams", lambda: self.streams.add(shard))

    @property
    def now(self) -> datetime:
        return self.clock() + BROKER_AHEAD

    async def assign(self, shard: ShardId, household: HouseholdId, quota: Quota) -> None:
        self.calls("assign", lambda: self._assign(shard, household, quota))

    def _assign(self, shard: ShardId, household: HouseholdId, quota: Quota) -> None:
        self.assigned.add((shard, household))
        self.quotas[household] = quota
        self.left.pop(household, None)

    async def leave(self, shard: ShardId, household: HouseholdId) -> datetime | None:
        if (shard, household) in self.assigned and household not in self.left:
            self.calls("leave", lambda: self.left.update({household: self.now}))
        return self.left.get(household)

    async def oldest_waiting(self, shard: ShardId) -> datetime | None:
        return self.oldest

    async def waiting(self, shard: ShardId) -> int:
        return 0

    async def unassign(self, shard: ShardId, household: HouseholdId) -> None:
        self.calls("unassign", lambda: self._unassign(shard, household))

    def _unassign(self, shard: ShardId, household: HouseholdId) -> None:
        self.assigned.discard((shard, household))
        self.quotas.pop(household, None)
        self.left.pop(household, None)

    async def purge_quarantine(self, shard: ShardId, household: HouseholdId) -> None:
        self.calls("purge quarantine", lambda: self.quarantined.discard(household))

    async def accepts(self, shard: ShardId, credential: Credential) -> bool:
        return credential.user_key not in self.revoked and credential.signing_key == self.signing_key.public_key

    async def mint(self, shard: ShardId, household: HouseholdId, renewed: Credential | None) -> Credential:
        assert (shard, household) in self.assigned, "a credential exists only for an assigned household"
        user = Identity(renewed.seed) if renewed else new_identity("user")
        expires = int((self.clock() + LIFETIME).timestamp())
        token = scoped_user_token(self.signing_key, self.edge.public_key, user.public_key, household, expires)
        self.minted.append(read_credential(creds_file(token, user)))
        return self.minted[-1]

    async def revoke(self, shard: ShardId, user_key: str) -> None:
        self.calls("revoke", lambda: self.revoked.add(user_key))

    async def remove(self, shard: ShardId) -> None:
        self.calls("remove", lambda: self._remove(shard))

    def _remove(self, shard: ShardId) -> None:
        self.streams.discard(shard)
        self.accounts.discard(shard)


@dataclass
class FakeStore:
    calls: Calls
    running: set[ShardId] = field(default_factory=set)
    series: set[HouseholdId] = field(default_factory=set)
    answers: bool = True

    async def ensure(self, shard: Shard) -> str:
        self.calls("ensure store", lambda: self.running.add(shard.id))
        return StoreUrls("http://store", "http://store")

    async def check(self, shard: ShardId) -> None:
        if not self.answers or shard not in self.running:
            raise NotYet("StoreNotReady")

    async def has_series(self, shard: ShardId, household: HouseholdId) -> bool:
        return household in self.series

    async def erase(self, shard: ShardId, household: HouseholdId) -> None:
        self.calls("erase", lambda: self.series.discard(household))

    async def stop(self, shard: ShardId) -> None:
        self.calls("stop store", lambda: self.running.discard(shard))


@dataclass
class FakeWorkloads:
    calls: Calls
    running: set[ShardId] = field(default_factory=set)
    trouble: str | None = None

    async def ensure(self, shard: Shard, store: StoreUrls) -> str:
        self.calls("ensure workloads", lambda: self.running.add(shard.id))
        return "http://reader"

    async def check(self, shard: ShardId) -> Running:
        if self.trouble or shard not in self.running:
            raise NotYet(self.trouble or "WriterNotReady")
        return Running()

    async def stop(self, shard: ShardId) -> None:
        self.calls("stop workloads", lambda: self.running.discard(shard))


@dataclass
class FakeVault:
    calls: Calls
    texts: dict[str, str] = field(default_factory=dict)

    async def keep(self, name: str, make: Callable[[], str]) -> str:
        if name not in self.texts:
            self.calls(f"keep {name}", lambda: self.texts.update({name: make()}))
        return self.texts[name]

    async def replace(self, name: str, text: str) -> None:
        self.calls(f"replace {name}", lambda: self.texts.update({name: text}))

    async def forget(self, name: str) -> None:
        self.texts.pop(name, None)


@dataclass
class FakeHomes:
    calls: Calls
    files: dict[HouseholdId, HomeFile] = field(default_factory=dict)
    disclosed: list[str] = field(default_factory=list)
    """The user keys of all credentials that an agent may have seen."""

    async def read(self, household: HouseholdId) -> HomeFile | None:
        return self.files.get(household)

    async def write(self, home: HomeFile) -> None:
        self.calls("write home file", lambda: self._write(home))

    def _write(self, home: HomeFile) -> None:
        self.files[home.household] = home
        self.disclosed.append(read_credential(home.credentials).user_key)

    async def remove(self, household: HouseholdId) -> None:
        self.calls("remove home file", lambda: self.files.pop(household, None))


@dataclass
class FakeResources:
    calls: Calls
    kept: dict[str, Household | Shard] = field(default_factory=dict)

    def add(self, resource: Household | Shard) -> None:
        self.kept[resource.metadata.name] = resource

    def changed(self) -> bool:
        return True

    def household(self, household: HouseholdId) -> Household:
        resource = self.kept[household]
        assert isinstance(resource, Household)
        return resource

    def households(self) -> Sequence[Household]:
        return [r for r in self.kept.values() if isinstance(r, Household)]

    def shards(self) -> Sequence[Shard]:
        return [r for r in self.kept.values() if isinstance(r, Shard)]

    def shard(self, shard: ShardId) -> Shard | None:
        return next((s for s in self.shards() if s.id == shard), None)

    def phases(self, shard: ShardId) -> Mapping[int | None, int]:
        return Counter(h.status.send_phase_ms for h in self.households() if h.status.shard == shard)

    async def hold(self, resource: Household | Shard) -> None:
        pass

    async def report(self, resource: Household | Shard, status: Status) -> None:
        self.add(resource.model_copy(update={"status": status}))

    async def place(self, household: Household, place: Place) -> None:
        found = {"shard": place.shard, "send_phase_ms": place.send_phase_ms}
        self.calls("place", lambda: self.add(_with_status(household, **found)))

    async def finish(self, resource: Household | Shard) -> None:
        self.calls("finish", lambda: self.kept.pop(resource.metadata.name, None) and None)


@dataclass
class FakeNews:
    told: list[tuple[str, str, bool]] = field(default_factory=list)

    async def tell(self, resource: Household | Shard, reason: str, message: str, *, warning: bool = False) -> None:
        self.told.append((resource.metadata.name, reason, warning))


class FakeWorld:
    """A world with a ready shard `s1`, and the operator's doors to it."""

    def __init__(self) -> None:
        self.now = NOW
        self.calls = Calls()
        self.broker = FakeBroker(self.calls, {S1}, {S1}, clock=lambda: self.now)
        self.store = FakeStore(self.calls, {S1})
        self.workloads = FakeWorkloads(self.calls, {S1})
        self.vault = FakeVault(self.calls)
        self.homes = FakeHomes(self.calls)
        self.resources = FakeResources(self.calls)
        self.resources.add(shard())
        self.news = FakeNews()
        self.world = World(
            self.broker,
            self.store,
            self.workloads,
            self.vault,
            self.homes,
            self.resources,
            self.news,
            lambda: self.now,
        )

    def passes(self, time: timedelta) -> None:
        self.now += time


def shard(name: str = "s1", households: int = 0, **spec: object) -> Shard:
    status = ShardStatus(edge_urls=list(SERVERS), households=households)
    return Shard(metadata=Metadata(name=name), spec=ShardSpec.model_validate(spec), status=status)


def wish(household: HouseholdId, deleted: bool = False, **spec: object) -> Household:
    """A household as an admin wishes it."""
    fields = {"metadata": {"name": household}, "spec": spec}
    resource = Household.model_validate(fields)
    return (
        resource.model_copy(update={"metadata": Metadata(name=household, deletion_timestamp=NOW)})
        if deleted
        else resource
    )


def placed(household: Household, shard_id: ShardId = S1, send_phase_ms: int | None = None) -> Household:
    return household.model_copy(update={"status": HouseholdStatus(shard=shard_id, send_phase_ms=send_phase_ms)})


def _with_status(household: Household, **found: object) -> Household:
    return household.model_copy(update={"status": household.status.model_copy(update=found)})
