"""Whether those who sent a portion still belong to the shard, while the store keeps it waiting.

They did when it was fetched. A household that has left since may be erased by now, and what is stored of it then would
stay for ever. So nothing is handed to the store on the strength of an old answer.
"""

import time
from collections.abc import Sequence

from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer.reception import ASKED_WITHIN_S, Reception


class SomebodyLeftError(Exception):
    """Of the senders of a portion somebody belongs to the shard no longer."""


class Belonging:
    """Of those who sent `batches`. asked_s: when it was last heard that they belong to the shard, as time.monotonic."""

    def __init__(self, reception: Reception, batches: Sequence[PowerBatch], asked_s: float) -> None:
        self._reception = reception
        self._batches = batches
        self._asked_s = asked_s

    async def confirm(self) -> None:
        """Asks again where that was long ago, however long it takes to hear; raises SomebodyLeftError."""
        now_s = time.monotonic()
        if now_s - self._asked_s < ASKED_WITHIN_S:
            return
        if await self._reception.anybody_left(self._batches):
            raise SomebodyLeftError
        self._asked_s = now_s
