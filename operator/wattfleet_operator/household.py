"""A household's birth, its suspension and its end.

Every look at a household takes the same path: placed once and recorded, assigned to its shard before it holds a
credential (so that its first message is not refused as foreign), a credential that is renewed in good time, and Ready
only when its readings can really flow. Nothing is remembered between two looks but what the world itself shows.

Its end takes its time. Readings of many homes travel together, so none of them can be taken out of a stream: a
household leaves first, cut off and marked in the broker with the moment, and when the streams hold nothing any more
from before that moment, all that it ever sent is settled. Only then it is unassigned, and erased if so wished.
"""

from datetime import datetime, timedelta

from wattfleet_tenants.crd import DeletionPolicy, Household, HouseholdStatus, Shard
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.placement import Place, ShardRoom, choose_shard, send_phase
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.conditions import READY, SUSPENDED, reported
from wattfleet_operator.credential import Credential, read_credential
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.ports import World
from wattfleet_operator.shard import carried, check_shard
from wattfleet_operator.signing_keys import ensure_signing_keys

ERASED_AGAIN_AFTER = timedelta(seconds=150)
"""A message may be delivered twice, and a writer that was slow still stores its copy when that of another is settled
already. It begins no attempt to do so on the strength of what it heard of the shard's households 45 s ago
(KNOWN_WITHIN_S and ASKED_WITHIN_S), and waits 61 s at most for its answer (ATTEMPT_WITHIN_S). A store that was frozen
takes longer: whatever is found at the end is erased, and has to stay away for as long again."""

_MOST_KEYS = 16
"""Of one household. It gets another one only when somebody takes its home file away."""


async def reconcile(household: Household, world: World) -> HouseholdStatus:
    """Makes the world fit `household` and says how it stands. Raises NotYet or Refused."""
    if household.metadata.deletion_timestamp is not None:
        return await _end(household, world)
    place = await _placed(household, world)
    await world.vault.forget(_erasing(household))
    shard = _shard_of(place, world)
    await world.broker.assign(shard.id, household.id, household.spec.quota)
    if household.spec.suspended:
        await _cut_off(household, shard.id, world)
        return reported(_status(household, place), SUSPENDED, household.metadata.generation, world.clock())
    credential = await _ensure_credential(household, place, shard, world)
    status = await _with_credential(household, place, credential, world)
    try:
        await check_shard(shard.id, world)
    except (NotYet, Refused):
        if status.credential_keys != household.status.credential_keys:
            await world.resources.report(household, status)  # the credential is there, and so must be its key
        raise
    return reported(status, READY, household.metadata.generation, world.clock())


def _status(household: Household, place: Place) -> HouseholdStatus:
    """Of a household without a credential."""
    placed = {"shard": place.shard, "send_phase_ms": place.send_phase_ms}
    return household.status.model_copy(update={**placed, "credential_expires": None, "credential_keys": []})


async def _with_credential(household: Household, place: Place, credential: Credential, world: World) -> HouseholdStatus:
    """Knows each key that is to be refused some day; of too many, the oldest is refused at once."""
    others = [key for key in household.status.credential_keys if key != credential.user_key]
    keys = [*others, credential.user_key]
    for key in keys[:-_MOST_KEYS]:
        await world.broker.revoke(place.shard, key)
    known = {"credential_expires": credential.expires, "credential_keys": keys[-_MOST_KEYS:]}
    return _status(household, place).model_copy(update=known)


async def _placed(household: Household, world: World) -> Place:
    """Where it is carried and when it sends, decided once; one that an older platform placed only gets its phase."""
    shard, phase_ms = household.status.shard, household.status.send_phase_ms
    if shard is not None and phase_ms is not None:
        await world.resources.hold(household)
        return Place(shard, phase_ms)
    shard = shard or choose_shard(household.spec.region, _rooms(world))
    if shard is None:
        reason = f"no shard of region {household.spec.region!r} accepts new households and has room"
        raise NotYet("NoShardHasRoom", reason, retry_in_s=10)
    place = Place(shard, send_phase(world.resources.phases(shard)))
    await world.resources.place(household, place)  # taken at once: no other look comes in between
    return place


def _rooms(world: World) -> list[ShardRoom]:
    return [
        ShardRoom(s.id, s.spec.region, s.spec.capacity, carried(s.id, world), s.spec.accept_new_households)
        for s in world.resources.shards()
        if s.metadata.deletion_timestamp is None
    ]


def _shard_of(place: Place, world: World) -> Shard:
    shard = world.resources.shard(place.shard)
    if shard is None:
        raise Refused("ShardMissing", f"it is carried by shard {place.shard}, which is not there")
    if not shard.status.edge_urls:
        raise NotYet("ShardNotReady", f"shard {place.shard} was never ready yet")
    return shard


async def _ensure_credential(household: Household, place: Place, shard: Shard, world: World) -> Credential:
    """The household's home file leads to its shard with a credential that is in force for a good while."""
    kept = await world.homes.read(household.id)
    credential = read_credential(kept.credentials) if kept is not None and kept.shard == shard.id else None
    if credential is not None and not await world.broker.accepts(shard.id, credential):
        credential = None
    if credential is None or not credential.fresh(world.clock()):
        credential = await world.broker.mint(shard.id, household.id, renewed=credential)
    servers, command_key = tuple(shard.status.edge_urls), await ensure_signing_keys(world.vault)
    wished = HomeFile(household.id, shard.id, servers, credential.text, command_key, place.send_phase_ms)
    if kept != wished:
        await world.homes.write(wished)
    return credential


async def _cut_off(household: Household, shard: ShardId, world: World) -> None:
    """Revoked first, forgotten after: a crash in between revokes the same keys again. The status knows those as well
    whose home file was taken away."""
    home = await world.homes.read(household.id)
    keys = {*household.status.credential_keys, *([read_credential(home.credentials).user_key] if home else [])}
    for key in sorted(keys):
        await world.broker.revoke(shard, key)
    if home is not None:
        await world.homes.remove(household.id)


async def _end(household: Household, world: World) -> HouseholdStatus:
    """Nothing more comes in; what has come in is settled, and erased if so wished; only then it is let go."""
    shard = household.status.shard
    if shard is not None and world.resources.shard(shard) is not None:
        await _cut_off(household, shard, world)
        if household.status.credential_keys:
            # They are refused for good: the next look need not push all that the shard refuses once more.
            cut_off = household.status.model_copy(update={"credential_keys": []})
            await world.resources.report(household, cut_off)
        await _drain(household, shard, world)
        await world.broker.unassign(shard, household.id)
        if household.spec.deletion_policy is DeletionPolicy.ERASE:
            await _erase(household, shard, world)
            await world.news.tell(household, "Erased", _receipt(shard))
    await world.vault.forget(_erasing(household))
    await world.resources.finish(household)
    return household.status


async def _drain(household: Household, shard: ShardId, world: World) -> None:
    """Everything that it sent before it was cut off is stored or in quarantine.

    Both moments are the broker's, so that no other clock matters.
    """
    left = await world.broker.leave(shard, household.id)
    oldest = await world.broker.oldest_waiting(shard)
    if left is None or oldest is None or oldest > left:
        return
    await world.store.check(shard)
    raise NotYet("Draining", f"readings of {oldest:%H:%M:%S} UTC wait in its shard, and it left at {left:%H:%M:%S}")


async def _erase(household: Household, shard: ShardId, world: World) -> None:
    """Erased whenever something is found of it, until nothing that a writer holds can bring a series back."""
    await world.broker.purge_quarantine(shard, household.id)
    if await world.store.has_series(shard, household.id):
        await world.vault.replace(_erasing(household), world.clock().isoformat())
    await world.store.erase(shard, household.id)
    since = datetime.fromisoformat(await world.vault.keep(_erasing(household), lambda: world.clock().isoformat()))
    left = since + ERASED_AGAIN_AFTER - world.clock()
    if left > timedelta():
        raise NotYet("Erasing", "erased, and once more when no writer holds its readings", left.total_seconds())


def _receipt(shard: ShardId) -> str:
    return (
        f"Erased from shard {shard}: its credential is revoked, what it had sent was settled, what was refused of it "
        "is purged, and its series are deleted, twice."
    )


def _erasing(household: Household) -> str:
    return f"erasing/{household.id}"
