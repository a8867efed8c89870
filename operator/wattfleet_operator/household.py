"""A household's birth, its suspension and its end.

Every look at a household takes the same path: placed once and recorded, assigned to its shard before it holds a
credential (so that its first message is not refused as foreign), a credential that is renewed in good time, and Ready
only when its readings can really flow. Nothing is remembered between two looks but what the world itself shows.
"""

from datetime import datetime, timedelta

from wattfleet_tenants.adapters.jetstream import ACK_WAIT_S
from wattfleet_tenants.crd import DeletionPolicy, Household, HouseholdStatus, Shard
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.placement import ShardRoom, place
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.conditions import READY, SUSPENDED, reported
from wattfleet_operator.credential import Credential, read_credential
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.ports import World
from wattfleet_operator.shard import check_shard
from wattfleet_operator.signing_keys import ensure_signing_keys

ERASED_AGAIN_AFTER = timedelta(seconds=2 * ACK_WAIT_S + 30)
"""A message that a writer already holds when its household is deleted is stored or redelivered within ack_wait, and
once stored is held that long again; the rest is for a store that was slow to take it."""


async def reconcile(household: Household, world: World) -> HouseholdStatus:
    """Makes the world fit `household` and says how it stands. Raises NotYet or Refused."""
    if household.metadata.deletion_timestamp is not None:
        return await _end(household, world)
    await world.vault.forget(_erasing(household))
    shard = _shard_of(await _placed(household, world), world)
    await world.broker.assign(shard.id, household.id)
    if household.spec.suspended:
        await _cut_off(household, shard.id, world)
        status = household.status.model_copy(update={"shard": shard.id, "credential_expires": None})
        return reported(status, SUSPENDED, household.metadata.generation, world.clock())
    credential = await _ensure_credential(household, shard, world)
    status = household.status.model_copy(update={"shard": shard.id, "credential_expires": credential.expires})
    await check_shard(shard.id, world)
    return reported(status, READY, household.metadata.generation, world.clock())


async def _placed(household: Household, world: World) -> ShardId:
    if household.status.shard is not None:
        return household.status.shard
    async with world.placing:
        shard = place(household.spec.region, _rooms(world))
        if shard is None:
            reason = f"no shard of region {household.spec.region!r} accepts new households and has room"
            raise NotYet("NoShardHasRoom", reason, retry_in_s=10)
        world.resources.place(household, shard)
    return shard


def _rooms(world: World) -> list[ShardRoom]:
    placed = [h.status.shard for h in world.resources.households()]
    return [
        ShardRoom(s.id, s.spec.region, s.spec.capacity, placed.count(s.id), s.spec.accept_new_households)
        for s in world.resources.shards()
        if s.metadata.deletion_timestamp is None
    ]


def _shard_of(shard_id: ShardId, world: World) -> Shard:
    shard = world.resources.shard(shard_id)
    if shard is None:
        raise Refused("ShardMissing", f"it is carried by shard {shard_id}, which is not there")
    if not shard.status.edge_urls:
        raise NotYet("ShardNotReady", f"shard {shard_id} was never ready yet")
    return shard


async def _ensure_credential(household: Household, shard: Shard, world: World) -> Credential:
    """The household's home file leads to its shard with a credential that is in force for a good while."""
    kept = await world.homes.read(household.id)
    credential = read_credential(kept.credentials) if kept is not None and kept.shard == shard.id else None
    if credential is not None and not await world.broker.accepts(shard.id, credential):
        credential = None
    if credential is None or not credential.fresh(world.clock()):
        credential = await world.broker.mint(shard.id, household.id, renewed=credential)
    servers, command_key = tuple(shard.status.edge_urls), await ensure_signing_keys(world.vault)
    wished = HomeFile(household.id, shard.id, servers, credential.text, command_key)
    if kept != wished:
        await world.homes.write(wished)
    return credential


async def _cut_off(household: Household, shard: ShardId, world: World) -> None:
    """Revoked first, forgotten after: a crash in between revokes the same key again."""
    home = await world.homes.read(household.id)
    if home is not None:
        await world.broker.revoke(shard, read_credential(home.credentials))
        await world.homes.remove(household.id)


async def _end(household: Household, world: World) -> HouseholdStatus:
    """Nothing more comes in; what has come in is erased or stored; only then the resource is let go."""
    shard = household.status.shard
    if shard is not None and world.resources.shard(shard) is not None:
        await _cut_off(household, shard, world)
        if household.spec.deletion_policy is DeletionPolicy.ERASE:
            await _erase(household, shard, world)
        else:
            await _keep_what_came(household, shard, world)
    await world.vault.forget(_erasing(household))
    world.resources.finish(household)
    return household.status


async def _erase(household: Household, shard: ShardId, world: World) -> None:
    """Erased at once, and once more when nothing that a writer holds can bring a series back."""
    await world.broker.purge(shard, household.id)
    await world.broker.unassign(shard, household.id)
    await world.store.erase(shard, household.id)
    since = datetime.fromisoformat(await world.vault.keep(_erasing(household), lambda: world.clock().isoformat()))
    left = since + ERASED_AGAIN_AFTER - world.clock()
    if left > timedelta():
        raise NotYet("Erasing", "erased, and once more when no writer holds its readings", left.total_seconds())


async def _keep_what_came(household: Household, shard: ShardId, world: World) -> None:
    waiting = await world.broker.waiting(shard, household.id)
    if waiting:
        raise NotYet("Storing", f"{waiting} of its readings are not stored yet")
    await world.broker.unassign(shard, household.id)


def _erasing(household: Household) -> str:
    return f"erasing/{household.id}"
