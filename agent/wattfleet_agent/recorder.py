"""Puts finished minutes into the outbox, and says openly when it does not take one."""

import logging
import sqlite3
from collections.abc import Callable

from wattfleet_tenants.household import HouseholdId

from wattfleet_agent import metrics
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.sensors import Minute

logger = logging.getLogger(__name__)


class Recorder:
    """Records the minutes of `household`; `look` tells the publisher that there is one."""

    def __init__(self, outbox: Outbox, household: HouseholdId, look: Callable[[], None]) -> None:
        self._outbox = outbox
        self._household = household
        self._look = look
        self._first_sequence = outbox.next_sequence

    def record(self, minute: Minute) -> None:
        """Stores `minute` once; when there is no room for it, what is older stays and this one is lost."""
        about: dict[str, object] = {"household": self._household, "interval_start_ms": minute.interval_start_ms}
        try:
            appended = self._outbox.append([minute])
        except sqlite3.OperationalError as error:
            self._not_recorded("disk", about | {"error": str(error)})
            return
        if appended.refused:
            self._not_recorded("full", about)
        elif appended.repeated:
            self._not_recorded("repeated", about)
        else:
            metrics.RECORDED.inc()
            logger.info("recorded", extra=about | {"sequence": appended.sequences[0]})
            self._look()

    def clock_set_back(self, now_ms: int) -> None:
        """What this run recorded for times that have not come yet was stamped by a wrong clock: it is dropped."""
        withdrawn = self._outbox.withdraw(self._first_sequence, now_ms)
        if withdrawn:
            metrics.WITHDRAWN.inc(withdrawn)
            logger.warning("minutes withdrawn", extra={"household": self._household, "minutes": withdrawn})

    def _not_recorded(self, reason: str, about: dict[str, object]) -> None:
        metrics.NOT_RECORDED.labels(reason).inc()
        logger.error("minute not recorded", extra=about | {"reason": reason})
