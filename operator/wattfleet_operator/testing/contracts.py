"""The contracts of the ports that exist on one machine and in a cluster: both sides' tests walk through them.

Each function takes an adapter on an empty world and asserts what the port's docstrings promise.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from time import time

import httpx
from wattfleet_tenants.adapters.victoriametrics import INSERT_PATH, VictoriaMetricsHistory
from wattfleet_tenants.crd import Shard
from wattfleet_tenants.credentials import creds_file, new_identity, scoped_user_token
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.waiting import eventually

from wattfleet_operator.credential import Credential
from wattfleet_operator.errors import NotYet
from wattfleet_operator.ports import Broker, Homes, Running, Store, StoreUrls, Vault, Workloads

_WORKS_WITHIN_S = 60.0
_POWER_W = 230.5
_LOOKS_BACK_S = 600


async def vault_keeps_its_promises(vault: Vault) -> None:
    """A text is kept once, until it is replaced or forgotten, whoever asks at the same time."""
    made = iter(f"text {number}" for number in range(1000))
    name = "shards/s1/edge.seed"
    at_once = await asyncio.gather(*[vault.keep(name, lambda: next(made)) for _ in range(10)])
    _require(len(set(at_once)) == 1, "of many that ask at once all get the same text")
    _require(await vault.keep(name, lambda: next(made)) == at_once[0], "a name that is taken keeps its text")
    beside = "shards/s1/ing.seed"
    _require(await vault.keep(beside, lambda: next(made)) != at_once[0], "another name has a text of its own")
    await vault.replace(name, "ü\nreplaced")
    _require(await vault.keep(name, lambda: next(made)) == "ü\nreplaced", "a text is replaced as it is")
    await vault.forget(name)
    await vault.forget(name)
    _require(await vault.keep(name, lambda: "anew") == "anew", "what was forgotten is made anew")
    await vault.forget("nothing/at-all")
    _require(await vault.keep(beside, lambda: "other") != "other", "to forget one name leaves the others")


async def vaults_of_one_place_agree(first: Vault, second: Vault) -> None:
    """What one has stored, another one of the same place answers: an operator after its restart."""
    kept = await first.keep("signing/private.pem", lambda: "minted once")
    _require(await second.keep("signing/private.pem", lambda: "minted twice") == kept, "nothing is minted twice")


async def homes_keep_their_promises(homes: Homes, household: HouseholdId) -> None:
    """A home file is there as it was written, or not at all."""
    _require(await homes.read(household) is None, "there is none at first")
    home = some_home(household)
    await homes.write(home)
    _require(await homes.read(household) == home, "it is as it was written")
    await homes.write(home)
    other = replace(some_home(household), servers=("nats://a:1", "nats://b:2"))
    await homes.write(other)
    _require(await homes.read(household) == other, "the last one counts, whole")
    await homes.remove(household)
    await homes.remove(household)
    _require(await homes.read(household) is None, "it is gone")
    await homes.write(replace(home, credentials="none"))
    _require(await homes.read(household) is None, "one without a credential is none")
    await homes.write(home)
    _require(await homes.read(household) == home, "and can come back")


def some_home(household: HouseholdId) -> HomeFile:
    """A home file with a credential of its own, of a platform that nobody knows."""
    account, user = new_identity("account"), new_identity("user")
    token = scoped_user_token(account, account.public_key, user.public_key, household, int(time()) + 60)
    servers = ("nats://127.0.0.1:4222",)
    return HomeFile(household, ShardId("s1"), servers, creds_file(token, user), "key\n", 59_999)


async def broker_keeps_its_promises(
    start: Callable[[], AbstractAsyncContextManager[Broker]], shard: ShardId, household: HouseholdId
) -> None:
    """What one operator has made, the next one finds: each `start()` is an operator of the same place."""
    async with start() as broker:
        await _ensure(broker, shard)
        kept = await broker.mint(shard, household, renewed=None)
        lost = await broker.mint(shard, household, renewed=None)
        _require(kept.user_key != lost.user_key, "each credential has a key of its own")
        _require(await broker.leave(shard, household) is None, "who was never assigned cannot leave")
        await broker.assign(shard, household, Quota())
    async with start() as broker:
        await _ensure(broker, shard)
        _require(await broker.accepts(shard, kept), "a credential outlives the operator that minted it")
        renewed = await broker.mint(shard, household, renewed=lost)
        _require(renewed.user_key == lost.user_key, "a renewed credential keeps its key")
        for _ in range(2):
            await broker.revoke(shard, renewed.user_key)
        await _is_assigned_until_it_is_not(broker, shard, household)
    async with start() as broker:
        accepted = [await broker.accepts(shard, one) for one in (lost, renewed, kept)]
        _require(accepted == [False, False, True], "a key is revoked with all its credentials, and no other")
        await _is_removed_with_all_it_knew(broker, shard, household, kept)


async def _ensure(broker: Broker, shard: ShardId) -> None:
    for _ in range(2):
        await broker.ensure_accounts(shard)
        await broker.ensure_streams(shard)


async def _is_assigned_until_it_is_not(broker: Broker, shard: ShardId, household: HouseholdId) -> None:
    await broker.assign(shard, household, Quota())
    left = await broker.leave(shard, household)
    _require(left is not None, "who was assigned before a restart leaves after it")
    _require(await broker.leave(shard, household) == left, "it leaves once")
    _require(await broker.oldest_waiting(shard) is None, "nothing waits where nobody sent anything")
    _require(await broker.waiting(shard) == 0, "and none of it is counted")
    for _ in range(2):
        await broker.unassign(shard, household)
    _require(await broker.leave(shard, household) is None, "who is unassigned is not there any more")
    await broker.purge_quarantine(shard, household)
    await broker.assign(shard, household, Quota())


async def _is_removed_with_all_it_knew(
    broker: Broker, shard: ShardId, household: HouseholdId, kept: Credential
) -> None:
    for _ in range(2):
        await broker.remove(shard)
    await _ensure(broker, shard)
    _require(not await broker.accepts(shard, kept), "another shard of that name has other keys")
    _require(await broker.leave(shard, household) is None, "and carries nobody")
    _require(await broker.accepts(shard, await broker.mint(shard, household, renewed=None)), "and works")


async def store_keeps_its_promises(
    store: Store, shard: Shard, http: httpx.AsyncClient, shows: Callable[[], object]
) -> None:
    """http reaches the URLs of the store; `shows()` is what can be seen from outside of what runs for it."""
    await _is_not_yet(store.check(shard.id), "StoreNotReady")
    urls = await store.ensure(shard)
    await _comes_to_work(lambda: store.check(shard.id))
    before = shows()
    _require(await store.ensure(shard) == urls, "its URLs stay the same")
    _require(shows() == before, "to ensure it twice changes nothing")
    leaving, staying = mint_household_id(), mint_household_id()
    for household in (leaving, staying):
        row = f"{int(time() * 1000)},{household},{_POWER_W},1,,\n".encode()
        (await http.post(urls.insert + INSERT_PATH, content=row)).raise_for_status()
        await _has_stored(http, urls, household, [_POWER_W])
    await store.stop(shard.id)
    await _is_not_yet(store.check(shard.id), "StoreNotReady")
    await store.stop(shard.id)
    _require(await store.ensure(shard) == urls, "it comes back where it was")
    await _comes_to_work(lambda: store.check(shard.id))
    for household in (leaving, staying):
        await _has_stored(http, urls, household, [_POWER_W])
    for _ in range(2):
        await store.erase(shard.id, leaving)
    await _has_stored(http, urls, leaving, [])
    await _has_stored(http, urls, staying, [_POWER_W])


async def _has_stored(http: httpx.AsyncClient, urls: StoreUrls, household: HouseholdId, power_w: list[float]) -> None:
    async def as_expected() -> bool:
        sockets = await VictoriaMetricsHistory(http, urls.select).last(household, int(time() * 1000), _LOOKS_BACK_S)
        return [socket.power_w for socket in sockets] == power_w

    _: bool = await eventually(as_expected, _WORKS_WITHIN_S, f"it has {power_w} of {household}")


async def workloads_keep_their_promises(
    workloads: Workloads, shard: Shard, store: StoreUrls, shows: Callable[[], object]
) -> None:
    """`shows()` is what can be seen from outside of what runs for the shard."""
    await _is_not_yet(workloads.check(shard.id), "IngestNotReady")
    url = await workloads.ensure(shard, store)
    await _comes_to_work(lambda: workloads.check(shard.id))
    _require(await workloads.check(shard.id) == Running(1, 1), "one of each works")
    before = shows()
    _require(await workloads.ensure(shard, store) == url, "the reader's URL stays the same")
    _require(shows() == before, "to ensure them twice changes nothing")
    other = shard.model_copy(update={"spec": shard.spec.model_copy(update={"max_power_w": 1234})})
    await workloads.ensure(other, store)
    _require(shows() != before, "another wish changes them")
    await _comes_to_work(lambda: workloads.check(shard.id))
    await workloads.stop(shard.id)
    await _is_not_yet(workloads.check(shard.id), "IngestNotReady")
    await workloads.stop(shard.id)
    _require(await workloads.ensure(shard, store) == url, "they come back where they were")
    await _comes_to_work(lambda: workloads.check(shard.id))


async def _comes_to_work(check: Callable[[], Awaitable[object]]) -> None:
    async def works() -> bool:
        try:
            await check()
        except NotYet:
            return False
        return True

    _: bool = await eventually(works, _WORKS_WITHIN_S, "it works")


async def _is_not_yet(asked: Awaitable[object], reason: str) -> None:
    try:
        await asked
    except NotYet as error:
        _require(error.reason == reason, f"it says {reason}, not {error.reason}")
    else:
        _require(False, f"what does not run says {reason}")


def _require(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(f"broken: {promise}")
