"""Of several operators one acts: whoever holds a Lease, and only for as long as it surely does.

A holder renews its lease every few seconds. Others watch the lease, not the clock in it: when it has not changed for
its whole duration, measured on their own monotonic clock, its holder is gone and whoever writes first is the next one;
the API server refuses the second writer. A holder that could not renew in time ends its process before anybody else can
take over, so no two ever act. (The same rules as in Kubernetes' own client-go/tools/leaderelection.)
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

logger = logging.getLogger(__name__)

DURATION_S = 15.0
"""How long a lease holds after its last renewal; a killed leader is followed within this and one look."""
RENEW_WITHIN_S = 10.0
"""The rest of the duration is for what a leader had begun to ask of the outside."""
LOOK_EVERY_S = 2.0
_GUARD_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Lease:
    """What stands in the lease. version: Kubernetes' resourceVersion, empty for a lease that is to be made."""

    holder: str
    duration_s: int
    acquired: datetime
    renewed: datetime
    transitions: int = 0
    version: str = ""


class LeaseTaken(Exception):
    """Somebody else has written the lease meanwhile."""


class Leases(Protocol):
    """The one lease. Both raise an exception of their own when nobody answers."""

    async def read(self) -> Lease | None:
        """The lease as it stands; None when there is none yet."""

    async def write(self, lease: Lease) -> Lease:
        """Creates it, or replaces the one of that version; raises LeaseTaken when it is no longer that."""


class Leadership:
    """This process' part in it. identity: different for every process that ever takes part. end_process: must not
    return; called from a thread of its own, whatever else hangs."""

    def __init__(
        self,
        leases: Leases,
        identity: str,
        end_process: Callable[[], None],
        clock: Callable[[], float] = monotonic,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._leases = leases
        self._identity = identity
        self._end_process = end_process
        self._clock = clock
        self._look_every_s = look_every_s
        self._seen: Lease | None = None
        self._seen_at_s = 0.0
        self._safe_until_s = 0.0
        self._released = False

    @property
    def leads(self) -> bool:
        """Whether this process may act now."""
        return not self._released and self._clock() < self._safe_until_s

    async def acquire(self) -> None:
        """Returns when this process leads; from then on `keep` has to run."""
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._look_every_s)
        logger.info("leads", extra={"identity": self._identity})
        threading.Thread(target=self._guard, name="leadership", daemon=True).start()

    async def keep(self) -> None:
        """Renews until it is cancelled, or the process is ended because that did not succeed in time."""
        while True:
            await asyncio.sleep(self._look_every_s)
            if not await self._attempt() and self._seen is not None and self._seen.holder != self._identity:
                logger.error("another one leads", extra={"holder": self._seen.holder})
                self._end_process()

    async def release(self) -> None:
        """Lets the next one begin at once, after this process has stopped to act."""
        self._released = True
        if self._seen is not None and self._seen.holder == self._identity:
            self._seen = await self._leases.write(replace(self._seen, holder="", renewed=datetime.now(UTC)))

    async def _attempt(self) -> bool:
        """Whether the lease is this process' after one look and, where it may, one write."""
        began_s = self._clock()
        try:
            lease = await self._leases.read()
            if lease != self._seen:
                self._seen, self._seen_at_s = lease, self._clock()
            if not self._may_take(lease):
                return False
            self._seen = await self._leases.write(self._mine(lease))
        except LeaseTaken:
            return False
        except Exception as error:
            logger.warning("the lease cannot be renewed", extra={"error": f"{type(error).__name__}: {error}"[:200]})
            return False
        self._seen_at_s, self._safe_until_s = self._clock(), began_s + RENEW_WITHIN_S
        return True

    def _may_take(self, lease: Lease | None) -> bool:
        if lease is None or lease.holder in ("", self._identity):
            return True
        return self._clock() - self._seen_at_s > lease.duration_s

    def _mine(self, lease: Lease | None) -> Lease:
        now = datetime.now(UTC)
        if lease is None:
            return Lease(self._identity, int(DURATION_S), now, now)
        if lease.holder == self._identity:
            return replace(lease, renewed=now)
        transitions = lease.transitions + 1
        return Lease(self._identity, int(DURATION_S), now, now, transitions, lease.version)

    def _guard(self) -> None:
        """In a thread, so that nothing that blocks the loop keeps an old leader acting."""
        pause = threading.Event()
        while self.leads:
            pause.wait(_GUARD_EVERY_S)
        if not self._released:
            logger.error("the lease is not renewed in time: the process ends")
            self._end_process()
