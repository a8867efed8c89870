"""Homes that people add themselves.

Whose a home is, is written down before the fleet is told of it: a household that nobody owns is never made. The wish
is written down with it and stays until the fleet was heard to have it, so that whatever comes in between, a crash
or an API server that is away, it is told again. Telling twice is harmless.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from fastapi.concurrency import run_in_threadpool
from wattfleet_tenants.household import HouseholdId, mint_household_id, parse_household_id

from wattfleet_gateway.errors import Problem
from wattfleet_gateway.fleet import Fleet, FleetRefuses, FleetUnavailable
from wattfleet_gateway.store import Store

logger = logging.getLogger(__name__)

_TOLD_WITHIN_S = 5.0
TELL_AGAIN_EVERY_S = 15.0
# By then whoever wrote the wish down has long got an answer, or never will.
LEFT_ALONE_S = 60


class NewHomes:
    """Homes in `region`, for people who have fewer than `most_per_person`."""

    def __init__(
        self, store: Store, fleet: Fleet, region: str, most_per_person: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._region = region
        self._most_per_person = most_per_person
        self._clock = clock

    def may_add(self, user_id: int) -> bool:
        """Whether this person may add a home."""
        return self._store.household_count(user_id) < self._most_per_person

    async def add(self, user_id: int, name: str, time_zone: str) -> HouseholdId:
        """A new home of this person; it may take a while until it is ready. Raises Problem."""
        household, now_s = mint_household_id(), int(self._clock())
        wished = await run_in_threadpool(
            self._store.wish_household, household, name, user_id, time_zone, now_s, self._most_per_person
        )
        if not wished:
            raise Problem(HTTPStatus.CONFLICT, self._enough())
        try:
            await self._tell(household, time_zone)
        except FleetRefuses as error:
            logger.exception("household refused", extra={"household": household})
            await run_in_threadpool(self._store.take_back, household)
            detail = "Homes cannot be added here at the moment. Whoever runs Wattfleet for you can find out why."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail) from error
        except FleetUnavailable as error:
            logger.warning("household to be told again", extra={"household": household, "error": str(error)})
        return household

    async def tell_again(self) -> None:
        """Tells the fleet what it was not heard to have taken."""
        wishes = await run_in_threadpool(self._store.wishes, int(self._clock()) - LEFT_ALONE_S)
        for wish in wishes:
            try:
                await self._tell(parse_household_id(wish.household_id), wish.time_zone)
            except (FleetRefuses, FleetUnavailable) as error:
                logger.warning("household not told", extra={"household": wish.household_id, "error": str(error)})

    async def _tell(self, household: HouseholdId, time_zone: str) -> None:
        try:
            async with asyncio.timeout(_TOLD_WITHIN_S):
                await self._fleet.create(household, time_zone, self._region)
        except TimeoutError as error:
            raise FleetUnavailable(f"no answer within {_TOLD_WITHIN_S} s") from error
        await run_in_threadpool(self._store.forget_wish, household)

    def _enough(self) -> str:
        if self._most_per_person == 0:
            return "Homes are added by whoever runs Wattfleet for you."
        return f"You have as many homes as one person may have here ({self._most_per_person})."
