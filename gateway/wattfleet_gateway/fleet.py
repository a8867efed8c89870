"""Where a home is carried, and whether it works: what the operator reports of it.

The gateway only ever asks. On one machine the answers lie in a folder, in a cluster behind the Kubernetes API; both fit
behind `Fleet`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import ConditionType, Household, ShardSpec
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

logger = logging.getLogger(__name__)

# YAML costs milliseconds, and a page asks several things at once; a status changes every few seconds at most.
_FRESH_FOR_S = 2.0
_REMEMBERED = 10_000


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


class Fleet(Protocol):
    """Knows where households are carried."""

    def placement(self, household: HouseholdId) -> Placement:
        """What is known of `household`; a household that the fleet does not have is simply not ready. May block."""
        ...


class FolderFleet:
    """The fleet of a resource folder."""

    def __init__(self, folder: ResourceFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._remembered = lru_cache(_REMEMBERED)(self._placement_in)

    def placement(self, household: HouseholdId) -> Placement:
        """What the folder said of `household` at most 2 s ago."""
        return self._remembered(household, int(self._clock() / _FRESH_FOR_S))

    def _placement_in(self, household: HouseholdId, _time_slot: int) -> Placement:
        try:
            resource = self._folder.household(household)
            return self._placement_of(resource) if resource else Placement()
        except (OSError, ValueError):
            logger.exception("household cannot be read", extra={"household": household})
            return Placement(reason="Invalid")

    def _placement_of(self, resource: Household) -> Placement:
        shard_id = resource.status.shard
        shard = self._folder.shard(shard_id) if shard_id else None
        condition = resource.status.condition(ConditionType.READY)
        return Placement(
            time_zone=resource.spec.time_zone,
            ready=resource.status.ready,
            reason=condition.reason if condition else "NotReported",
            shard=shard_id,
            reader_url=shard.status.reader_url if shard else None,
            edge_urls=tuple(shard.status.edge_urls) if shard else (),
            max_power_w=shard.spec.max_power_w if shard else ShardSpec().max_power_w,
        )
