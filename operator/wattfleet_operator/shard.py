"""A shard is Ready when a reading can go all the way through it: taken in, kept in a stream, stored, read.

Accounts come before streams (they live in one), the store before the processes that use it. Each step looks first and
repeats harmlessly, so a look that was cut short is simply taken again. A shard that is to go works on until the last
household has left: what they have sent is still to be stored, or erased.
"""

from secrets import randbelow

from wattfleet_tenants.crd import Shard, ShardStatus, StorageMode
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.conditions import READY, reported
from wattfleet_operator.errors import NotYet
from wattfleet_operator.ports import Running, World
from wattfleet_operator.signing_keys import ensure_signing_keys

_ACCOUNTS = 2**32 - 1


async def reconcile(shard: Shard, world: World) -> ShardStatus:
    """Makes the world fit `shard` and says how it stands. Raises NotYet or Refused."""
    ending = shard.metadata.deletion_timestamp is not None
    if ending and not carried(shard.id, world):
        return await _end(shard, world)
    if not ending:
        await world.resources.hold(shard)
    shard = await _with_account(shard, world)
    await ensure_signing_keys(world.vault)
    await world.broker.ensure_accounts(shard.id)
    await world.broker.ensure_streams(shard.id)
    store = await world.store.ensure(shard)
    reader_url = await world.workloads.ensure(shard, store)
    running = await check_shard(shard.id, world)
    left = carried(shard.id, world)
    if ending:
        raise NotYet("HouseholdsLeft", f"households that it still carries: {left}", retry_in_s=10)
    status = shard.status.model_copy(
        update={
            "households": left,
            "writers": running.writers,
            "readers": running.readers,
            "lag": await world.broker.waiting(shard.id),
            "edge_urls": list(world.broker.servers),
            "reader_url": reader_url,
        }
    )
    return reported(status, READY, shard.metadata.generation, world.clock())


async def _with_account(shard: Shard, world: World) -> Shard:
    """A tenant of a cluster of stores has its account there, chosen once and recorded before anything uses it.

    Accounts of deleted shards are not known any more, nor those that are being chosen; among four billion, chance keeps
    clear of them.
    """
    if shard.spec.storage.mode is StorageMode.DEDICATED or shard.status.store_account is not None:
        return shard
    taken = {other.status.store_account for other in world.resources.shards()}
    account = next(one for one in iter(lambda: 1 + randbelow(_ACCOUNTS), None) if one not in taken)
    status = shard.status.model_copy(update={"store_account": account})
    await world.resources.report(shard, status)
    return shard.model_copy(update={"status": status})


async def check_shard(shard: ShardId, world: World) -> Running:
    """Raises NotYet, naming the part, unless the shard's store, ingest, writer and reader do their work now."""
    await world.store.check(shard)
    return await world.workloads.check(shard)


def carried(shard: ShardId, world: World) -> int:
    """How many households the shard carries."""
    return sum(world.resources.phases(shard).values())


async def _end(shard: Shard, world: World) -> ShardStatus:
    """Its processes, its streams and keys, its store, once no household is left."""
    await world.workloads.stop(shard.id)
    await world.store.stop(shard.id)
    await world.broker.remove(shard.id)
    await world.resources.finish(shard)
    return shard.status
