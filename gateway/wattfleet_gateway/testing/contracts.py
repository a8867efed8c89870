"""The contract of `Fleet`, which exists on one machine and in a cluster: both sides' tests walk through it.

Each function takes a fleet and what stands on its other side, and asserts what the port's docstrings promise.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from wattfleet_tenants.crd import (
    Condition,
    ConditionType,
    Household,
    HouseholdSpec,
    HouseholdStatus,
    Metadata,
    Shard,
    ShardSpec,
    ShardStatus,
    Status,
)
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.waiting import eventually

from wattfleet_gateway.fleet import INVALID, Fleet, Placement

SEEN_WITHIN_S = 3.0
"""How soon the gateway has what the operator wrote: a folder is looked at every 2 s."""


class Resources(Protocol):
    """The resources themselves, as an admin and the operator write them."""

    async def apply(self, resource: Household | Shard) -> None:
        """Writes what is wished."""
        ...

    async def report(self, resource: Household | Shard, status: Status) -> None:
        """Writes what is so."""
        ...

    async def delete(self, resource: Household | Shard) -> None:
        """Removes it."""
        ...

    async def spoil(self, household: HouseholdId) -> None:
        """Puts in something of that name which the gateway cannot read."""
        ...

    async def spec(self, household: HouseholdId) -> HouseholdSpec | None:
        """What is wished for it now; None when there is no such household."""
        ...


def a_household(time_zone: str = "Europe/Paris") -> Household:
    """A household that was just thought of."""
    return Household(metadata=Metadata(name=mint_household_id()), spec=HouseholdSpec(time_zone=time_zone))


def a_shard(name: str) -> Shard:
    """A shard of that name."""
    return Shard(metadata=Metadata(name=name), spec=ShardSpec(max_power_w=9000))


def is_so(ready: bool, reason: str) -> list[Condition]:
    """What the operator says of a household."""
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        Condition(
            type=ConditionType.READY,
            status="True" if ready else "False",
            reason=reason,
            observed_generation=1,
            last_transition_time=now,
        )
    ]


async def a_household_is_followed_from_birth_to_end(fleet: Fleet, resources: Resources, shard: Shard) -> None:
    """A placement is what the operator reported last."""
    home = a_household()
    _require(fleet.placement(home.id) == Placement(), "a household that is not there is not ready")
    await resources.apply(home)
    waiting = Placement("Europe/Paris", reason="NotReported")
    await _becomes(fleet, home.id, lambda seen: seen == waiting, "a wish is seen before it is answered")
    await resources.report(home, HouseholdStatus(shard=shard.id, conditions=is_so(False, "ShardNotReady")))
    placed = Placement("Europe/Paris", False, "ShardNotReady", shard.id)
    await _becomes(fleet, home.id, lambda seen: seen == placed, "a shard that is not there has no doors")
    await resources.apply(shard)
    await resources.report(shard, ShardStatus(edge_urls=["nats://edge:4222"], reader_url="http://reader:8080"))
    await resources.report(home, HouseholdStatus(shard=shard.id, conditions=is_so(True, "Ready")))
    doors = (shard.id, "http://reader:8080", ("nats://edge:4222",), 9000)
    ready = Placement("Europe/Paris", True, "Ready", *doors)
    await _becomes(fleet, home.id, lambda seen: seen == ready, "it is ready when the operator says so, and where")
    await resources.report(shard, ShardStatus(edge_urls=["nats://edge:4223"], reader_url="http://reader:8080"))
    await _becomes(fleet, home.id, lambda seen: seen.edge_urls == ("nats://edge:4223",), "its shard's doors move")
    await resources.report(home, HouseholdStatus(shard=shard.id, conditions=is_so(False, "WriterNotReady")))
    await _becomes(fleet, home.id, lambda seen: seen.reason == "WriterNotReady" and not seen.ready, "and it may fail")
    await resources.delete(home)
    await _becomes(fleet, home.id, lambda seen: seen == Placement(), "it is gone when it was deleted")


async def a_household_is_created_once(fleet: Fleet, resources: Resources) -> None:
    """A wish becomes a resource, and stays as it is when it is told again."""
    home = Household(metadata=Metadata(name=mint_household_id()))
    household = home.id
    await fleet.create(household, "America/New_York", "local")
    _require(fleet.placement(household) == Placement("America/New_York", reason="NotReported"), "it is there at once")
    wished = HouseholdSpec(time_zone="America/New_York", region="local")
    _require(await resources.spec(household) == wished, "it is wished for as it was asked for")
    await fleet.create(household, "Asia/Tokyo", "local")
    _require(await resources.spec(household) == wished, "a wish that is told again changes nothing")
    _require(household in fleet.home_file_command(household), "its file is fetched by its id")
    await resources.delete(home)


async def only_what_is_certainly_not_there_is_lacking(fleet: Fleet, resources: Resources) -> None:
    """What is there is not lacking, whether it can be read or not; what was deleted is."""
    home, spoiled, never = a_household(), a_household(), mint_household_id()
    await resources.apply(home)
    await resources.spoil(spoiled.id)
    _require(not await fleet.lacks(home.id), "what is there is not lacking, whether it was heard of or not")
    _require(not await fleet.lacks(spoiled.id), "nor is what cannot be read")
    _require(await fleet.lacks(never), "what never was is lacking")
    for gone in (home, spoiled):
        await resources.delete(gone)
        await _becomes(fleet, gone.id, lambda seen: seen == Placement(), "it is gone when it was deleted")
        _require(await fleet.lacks(gone.id), "and lacking")


async def what_cannot_be_read_hides_nothing_else(fleet: Fleet, resources: Resources) -> None:
    """One resource's trouble is one home's trouble."""
    before, spoiled, after = a_household(), a_household(), a_household("Europe/London")
    await resources.apply(before)
    await resources.spoil(spoiled.id)
    await resources.apply(after)
    await _becomes(fleet, spoiled.id, lambda seen: seen == INVALID, "it is said to be unreadable")
    await _becomes(fleet, after.id, lambda seen: seen.time_zone == "Europe/London", "others are seen as ever")
    _require(fleet.placement(before.id).time_zone == "Europe/Paris", "and stay known")
    for home in (before, spoiled, after):
        await resources.delete(home)
        await _becomes(fleet, home.id, lambda seen: seen == Placement(), "it can be deleted like any other")


async def _becomes(fleet: Fleet, household: HouseholdId, so: Callable[[Placement], bool], what: str) -> None:
    await eventually(lambda: so(fleet.placement(household)), SEEN_WITHIN_S, what)


def _require(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(f"broken: {promise}")
