"""Brings many past minutes through the outbox, as fast as the platform takes them, without filling it up.

Used for the history of a simulated home and for the replay of a recorded house: both are a long row of minutes that are
known already. Of these the outbox never holds more than 10,000, so a fresh minute always finds room.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType

from wattfleet_agent.outbox import Outbox
from wattfleet_agent.progress import Progress
from wattfleet_agent.sensors import Minute

logger = logging.getLogger(__name__)

_MOST_WAITING = 10_000
_AT_ONCE = 1_000
_LOOK_EVERY_S = 0.2
_AFTER_TROUBLE_S = 5.0


class CatchUp:
    """One `job` of `minutes` more than wait in the outbox already, none of them later than `until_ms`.

    `look` tells the publisher that there is work.
    """

    def __init__(self, job: str, outbox: Outbox, minutes: int, until_ms: int, look: Callable[[], None]) -> None:
        self._outbox = outbox
        self._until_ms = until_ms
        self._look = look
        self._put = self._waiting()
        self.total = self._put + minutes
        self._progress = Progress(job, self.total)

    def __enter__(self) -> "CatchUp":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.close()

    async def feed(self, minutes: Iterator[Minute], store: Callable[[list[Minute]], None]) -> None:
        """Hands groups of `minutes` to `store` whenever there is room, and returns when all are acknowledged."""
        while group := list(islice(minutes, _AT_ONCE)):
            while self._waiting() > _MOST_WAITING:
                await self._show()
            await self._store(group, store)
            self._put += len(group)
            self._look()
            self._progress.show(self._put - self._waiting())
            await asyncio.sleep(0)
        while self._waiting():
            await self._show()
        self._progress.show(self.total)

    def _waiting(self) -> int:
        return self._outbox.count_waiting(self._until_ms)

    async def _show(self) -> None:
        self._progress.show(self._put - self._waiting())
        await asyncio.sleep(_LOOK_EVERY_S)

    async def _store(self, group: list[Minute], store: Callable[[list[Minute]], None]) -> None:
        while True:
            try:
                store(group)
            except sqlite3.OperationalError as error:
                logger.error("outbox not written, trying again", extra={"error": str(error)})  # noqa: TRY400
                await asyncio.sleep(_AFTER_TROUBLE_S)
            else:
                return
