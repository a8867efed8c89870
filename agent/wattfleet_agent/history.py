"""The past of a simulated home: the minutes of the last days that were never recorded, sent like any other.

The outbox knows every minute that was recorded, so none is sent twice, however often the agent is stopped; and as the
home is a function of time, what is filled in is what would have been measured.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from wattfleet_tenants.reading import INTERVAL_MS, interval_start

from wattfleet_agent import metrics
from wattfleet_agent.catch_up import CatchUp
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.sensors import Minute
from wattfleet_agent.simulated.home import SimulatedHome

MOST_DAYS = 90
_DAY_MS = 24 * 3600 * 1000
# The sampler hands a minute out with the first sample of the next one.
_MEASURED_AFTER_S = 3.0


class History:
    """Fills `outbox` with what is missing of the last `days` days before now."""

    def __init__(
        self, home: SimulatedHome, outbox: Outbox, look: Callable[[], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._home = home
        self._outbox = outbox
        self._look = look
        self._clock = clock

    async def fill(self, days: int) -> None:
        """Returns when all is acknowledged, and the minute that was open at the start is recorded too.

        The minute before that one belongs to no history: it may be held back for the home's phase, like any fresh one.
        """
        opening_ms = interval_start(int(self._clock() * 1000))
        end_ms = opening_ms - INTERVAL_MS
        missing = self._missing(end_ms - days * _DAY_MS, end_ms)
        with CatchUp("history", self._outbox, len(missing), end_ms - INTERVAL_MS, self._look) as catch_up:
            await catch_up.feed(self._minutes(missing), self._store)
        self._store(list(self._minutes(self._missing(end_ms, opening_ms))))
        await self._until_measured(opening_ms)
        self._store(list(self._minutes(self._missing(opening_ms, opening_ms + INTERVAL_MS))))

    def _missing(self, start_ms: int, end_ms: int) -> list[int]:
        recorded = self._outbox.recorded(start_ms, end_ms)
        return [start for start in range(start_ms, end_ms, INTERVAL_MS) if start not in recorded]

    def _minutes(self, starts: list[int]) -> Iterator[Minute]:
        return (self._home.minute(start) for start in starts)

    def _store(self, minutes: list[Minute]) -> None:
        metrics.RECORDED.inc(len(self._outbox.append(minutes).sequences))

    async def _until_measured(self, opening_ms: int) -> None:
        """The agent began within this minute, so the sampler may have seen too little of it."""
        ended_s = (opening_ms + INTERVAL_MS) / 1000 + _MEASURED_AFTER_S
        await asyncio.sleep(max(0.0, ended_s - self._clock()))
