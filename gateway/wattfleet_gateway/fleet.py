"""Where homes are carried, and whether they work: what the operator reports of them; and how a new one is wished for.

On one machine resources lie in a folder (`fleet_folder`), in a cluster behind the Kubernetes API (`fleet_cluster`);
both fit behind `Fleet`.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from wattfleet_tenants.crd import ConditionType, Household, Shard, ShardSpec
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId


@dataclass(frozen=True, slots=True)
class Placement:
    """What is known of a household. reason: a stable word on why it is ready, or is not.

    reader_url and edge_urls: where its readings are asked for, and where its agent is reached; empty before it is
    placed. max_power_w: no socket of it draws more.
    """

    time_zone: str = "Etc/UTC"
    ready: bool = False
    reason: str = "Unknown"
    shard: ShardId | None = None
    reader_url: str | None = None
    edge_urls: tuple[str, ...] = ()
    max_power_w: int = ShardSpec().max_power_w


INVALID = Placement(reason="Invalid")
"""A household whose resource, or whose shard's, cannot be read."""

DELETED = Placement(reason="Deleted")
"""A household that the fleet had, and that an administrator deleted."""


class FleetUnavailable(Exception):
    """What is wished cannot be told to the fleet now, or it is not known whether it was heard."""


class FleetRefuses(Exception):
    """The fleet says no: nothing was made."""


class Fleet(Protocol):
    """Knows where households are carried, and takes the wish for a new one."""

    def placement(self, household: HouseholdId) -> Placement:
        """What is known of `household`; a household that the fleet does not have is simply not ready. May block."""
        ...

    async def create(self, household: HouseholdId, time_zone: str, region: str) -> None:
        """Wishes for a household of that id, unless there is one: then it stays as it is.

        Raises FleetUnavailable or FleetRefuses.
        """
        ...

    async def lacks(self, household: HouseholdId) -> bool:
        """Whether there is certainly no such household now: not from memory, which may be late.

        Raises FleetUnavailable when that cannot be said.
        """
        ...

    def home_file_command(self, household: HouseholdId) -> str:
        """With what whoever runs the platform brings the household's home file to its agent; no secret in it."""
        ...


def reported(household: Household) -> Placement:
    """What a household's own resource tells; where its shard is reached is not in it."""
    condition = household.status.condition(ConditionType.READY)
    return Placement(
        time_zone=household.spec.time_zone,
        ready=household.status.ready,
        reason=condition.reason if condition else "NotReported",
        shard=household.status.shard,
    )


def carried_by(shard: Shard | None, placement: Placement) -> Placement:
    """The placement with the doors of its shard, if that is there."""
    if shard is None:
        return placement
    return replace(
        placement,
        reader_url=shard.status.reader_url,
        edge_urls=tuple(shard.status.edge_urls),
        max_power_w=shard.spec.max_power_w,
    )
