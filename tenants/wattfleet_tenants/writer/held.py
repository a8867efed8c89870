"""What is in the store's memory and not yet surely on its disk: acknowledgements are held back until it is.

VictoriaMetrics answers as soon as samples are in memory, and writes them to disk some seconds later. It does not tell
when, so a batch counts as stored when it is ACK_AFTER_S old and the store still is the process that it was before the
batch was sent, and has thrown no row away since. Otherwise the broker is asked to deliver everything held again; stored
twice is stored once, since equal samples are one. So nothing but receipts is kept.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from wattfleet_tenants.ledger import Settled
from wattfleet_tenants.ports import StoreRun
from wattfleet_tenants.subjects import Lane

ACK_AFTER_S = 20.0
"""VictoriaMetrics 1.145 with its default -inmemoryDataFlushInterval=5s, killed on a busy machine: what it had answered
10 s before was lost (of new series; 8 s of known ones), what was 12 s old was not. The rest is margin. With an interval
of 1 s the border lies between 7 and 9 s."""


@dataclass(frozen=True, slots=True)
class HeldBatch:
    """Bundles of a lane whose readings the store has in memory, and what is to be said of each.

    run: the store's run that was known before they were sent. stored_at_s: on the monotonic clock, when it answered.
    """

    lane: Lane
    receipts: list[str]
    settled: list[Settled]
    run: StoreRun
    stored_at_s: float

    @property
    def stored(self) -> int:
        """How many messages are in it that were not refused."""
        return sum(one.stored for one in self.settled)


class HeldBatches:
    """In the order in which they were stored."""

    def __init__(self, hold_s: float, clock: Callable[[], float]) -> None:
        self._hold_s = hold_s
        self._clock = clock
        self._held: deque[HeldBatch] = deque()
        self.messages = 0

    def add(self, batch: HeldBatch) -> None:
        """Begins to hold `batch`."""
        self._held.append(batch)
        self.messages += batch.stored

    def any_due(self) -> bool:
        """Whether some batch is old enough to be acknowledged, if the store is still the same."""
        return any(self._due(batch) for batch in self._held)

    def take_due(self, run: StoreRun) -> list[HeldBatch]:
        """Removes the batches that are surely on disk, now that the store is seen to be in `run`."""
        return self._take(lambda batch: batch.run == run and self._due(batch))

    def take_endangered(self, run: StoreRun) -> list[HeldBatch]:
        """Removes the batches that may be lost: to another run of the store, or among rows that it threw away."""
        return self._take(lambda batch: batch.run != run)

    def _due(self, batch: HeldBatch) -> bool:
        return self._clock() - batch.stored_at_s >= self._hold_s

    def _take(self, which: Callable[[HeldBatch], bool]) -> list[HeldBatch]:
        taken = [batch for batch in self._held if which(batch)]
        self._held = deque(batch for batch in self._held if not which(batch))
        self.messages -= sum(batch.stored for batch in taken)
        return taken
