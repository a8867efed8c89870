"""Looks every few seconds at what the agent cannot notice while it happens, for its metrics and its readiness."""

import asyncio
import time

from wattfleet_tenants.telemetry.health import Health

from wattfleet_agent import metrics
from wattfleet_agent.outbox import Outbox

_LOOK_EVERY_S = 2.0
_SILENT_AFTER_S = 10.0


class Watch:
    """Watches the outbox and the sensor."""

    def __init__(self, outbox: Outbox, health: Health) -> None:
        self._outbox = outbox
        self._health = health
        self._sampled_at_s = float("-inf")

    def sampled(self) -> None:
        """The sensor gave a sample."""
        self._sampled_at_s = time.monotonic()

    async def run(self) -> None:
        """Looks, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """One look."""
        state = self._outbox.state()
        metrics.OUTBOX_WAITING.set(state.waiting)
        metrics.OUTBOX_KEPT.set(state.kept)
        metrics.OUTBOX_OLDEST_S.set(0 if state.oldest_ms is None else time.time() - state.oldest_ms / 1000)
        self._tell("outbox", None if state.waiting < self._outbox.most_messages else "full")
        silent = time.monotonic() - self._sampled_at_s > _SILENT_AFTER_S
        self._tell("sensor", "no sample for 10 s" if silent else None)

    def _tell(self, part: str, trouble: str | None) -> None:
        if trouble:
            self._health.trouble(part, trouble)
        else:
            self._health.ok(part)
