"""The fleet of one machine: a folder of resources, which the operator beside us reads and answers."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import lru_cache

from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import Household, HouseholdSpec, Metadata
from wattfleet_tenants.household import HouseholdId

from wattfleet_gateway.fleet import INVALID, FleetUnavailable, Placement, carried_by, reported

logger = logging.getLogger(__name__)

# YAML costs milliseconds, and a page asks several things at once; a status changes every few seconds at most.
_FRESH_FOR_S = 2.0
_REMEMBERED = 10_000


class FolderFleet:
    """The fleet of a resource folder."""

    def __init__(self, folder: ResourceFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._remembered = lru_cache(_REMEMBERED)(self._placement_in)

    def placement(self, household: HouseholdId) -> Placement:
        """What the folder said of `household` at most 2 s ago."""
        return self._remembered(household, int(self._clock() / _FRESH_FOR_S))

    async def create(self, household: HouseholdId, time_zone: str, region: str) -> None:
        """See `Fleet.create`."""
        spec = HouseholdSpec(time_zone=time_zone, region=region)
        try:
            await asyncio.to_thread(self._ensure, Household(metadata=Metadata(name=household), spec=spec))
        except OSError as error:
            raise FleetUnavailable(f"the folder of resources: {error.strerror}") from error

    async def lacks(self, household: HouseholdId) -> bool:
        """See `Fleet.lacks`."""
        try:
            return await asyncio.to_thread(self._lacks, household)
        except OSError as error:
            raise FleetUnavailable(f"the folder of resources: {error.strerror}") from error

    def home_file_command(self, household: HouseholdId) -> str:
        """See `Fleet.home_file_command`."""
        return f".venv/bin/python -m wattfleet_agent run --home .wattfleet/homes/{household}.json --sensor …"

    def _ensure(self, resource: Household) -> None:
        if self._folder.household(resource.id) is None:
            self._folder.apply(resource)
            self._remembered.cache_clear()

    def _lacks(self, household: HouseholdId) -> bool:
        # A folder that is not there, such as a disk that is not mounted, lacks nothing.
        return f"{household}.yaml" not in {file.name for file in (self._folder.root / "households").iterdir()}

    def _placement_in(self, household: HouseholdId, _time_slot: int) -> Placement:
        try:
            resource = self._folder.household(household)
            if resource is None:
                return Placement()
            shard = resource.status.shard
            return carried_by(self._folder.shard(shard) if shard else None, reported(resource))
        except (OSError, ValueError):
            logger.exception("household cannot be read", extra={"household": household})
            return INVALID
