"""Homes whose household an administrator deleted: shown as that, not counted, and forgotten at last.

Only what the fleet was seen to have can be missed, and only when the fleet was asked for it then and there and said
no. A fleet that cannot be read, news that are late and a wish that was not carried out yet are no such answer. Nobody
but an administrator deletes a household, so nobody else makes room for more. A fleet that was lost and is restored
within a week finds all homes with their people and names.
"""

import logging
import time
from collections.abc import Callable

from fastapi.concurrency import run_in_threadpool
from wattfleet_tenants.household import HouseholdId

from wattfleet_gateway.fleet import Fleet, FleetUnavailable
from wattfleet_gateway.store import Store

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
FORGOTTEN_AFTER_S = 7 * 24 * 3600


class GoneHomes:
    """The homes in `store` that `fleet` has no more."""

    def __init__(self, store: Store, fleet: Fleet, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._fleet = fleet
        self._clock = clock

    async def look(self) -> None:
        """Remembers which homes the fleet has, and which no more; stops at the first that it does not answer for."""
        for household, sighting in (await run_in_threadpool(self._store.sightings)).items():
            try:
                lacks = await self._fleet.lacks(household)
            except FleetUnavailable as error:
                logger.warning("homes not looked for", extra={"error": str(error)})
                return
            if lacks and sighting:
                await run_in_threadpool(self._note_missed, household)
            elif not lacks and (sighting is None or sighting.missed_since_s is not None):
                await run_in_threadpool(self._store.saw, household)

    def _note_missed(self, household: HouseholdId) -> None:
        now_s = int(self._clock())
        self._store.missed(household, now_s)
        self._store.forget_missed(household, now_s - FORGOTTEN_AFTER_S)
