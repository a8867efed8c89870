"""Tries again for as long as it takes, at growing intervals with jitter, and says so while it does not work."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.writer import metrics

logger = logging.getLogger(__name__)

Outcome = TypeVar("Outcome")

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


class Persistence:
    """health: told which part is in trouble, and when it works again."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def until_done(self, part: str, action: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """What `action` returns once it does not raise Unavailable any more."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                outcome = await action()
            except Unavailable as error:
                self._health.trouble(part, str(error))
                metrics.RETRIES.labels(part).inc()
                logger.warning("trying again", extra={"part": part, "error": str(error)})
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 (jitter)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                self._health.ok(part)
                return outcome
