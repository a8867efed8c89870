"""What is fetched of one lane while the store is busy: the next batch, of bounded size.

So the slower the store is the larger batches get, and the more samples of a series they hold, which cost it less each:
600,000 series took 1.5 CPU-seconds per million samples with two in a batch, 0.8 to 1.3 with five, 0.7 with ten. A store
that is away finds a writer with two batches of each lane in hand, and the rest with the broker.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from wattfleet_tenants.ports import Delivery, Inbox
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.persistence import Persistence

BATCH_BYTES = {Lane.LIVE: 8_000_000, Lane.BACKLOG: 48_000_000}
"""At most: about 50,000 and 290,000 messages of 30 readings. A writer with two such backlogs takes 400 MB."""
GATHER_S = {Lane.LIVE: 1.0, Lane.BACKLOG: 0.1}
BATCH_WITHIN_S = 12.0
"""Batches grow while the store takes them in half of that, and shrink when it needs longer: what waits behind one must
be stored and, ACK_AFTER_S later, acknowledged before the broker delivers it again."""
LARGEST_BUNDLE_BYTES = 1_100_000
"""The broker takes no larger message (`max_payload`), whatever the ingest makes."""
FIRST_BATCH_BYTES = 4 * LARGEST_BUNDLE_BYTES


class Gathering:
    """The bundles of one lane that are fetched and not yet being stored."""

    def __init__(self, lane: Lane, inbox: Inbox, persistence: Persistence) -> None:
        self._lane = lane
        self._inbox = inbox
        self._persistence = persistence
        self._gathered: list[Delivery] = []
        self._most_bytes = FIRST_BATCH_BYTES

    def __len__(self) -> int:
        return len(self._gathered)

    async def fetch(self) -> bool:
        """Fetches what there is by and by; False, and fetches nothing, when what has gathered makes a batch."""
        room = self._most_bytes - _size_bytes(self._gathered)
        if room < LARGEST_BUNDLE_BYTES:
            return False
        wait_s = GATHER_S[self._lane]
        fetched = await self._persistence.until_done("inbox", lambda: self._inbox.fetch(room, wait_s))
        self._gathered += fetched
        metrics.WAITING.labels(self._lane).set(self._inbox.waiting)
        return True

    def take(self) -> list[Delivery]:
        """The next batch, which is the taker's from now on: the oldest, as much as a batch may be by now."""
        ends = accumulate(delivery.size_bytes for delivery in self._gathered)
        count = max(1, bisect_right(list(ends), self._most_bytes))
        taken, self._gathered = self._gathered[:count], self._gathered[count:]
        return taken

    def take_all(self) -> list[Delivery]:
        """Everything that has gathered."""
        taken, self._gathered = self._gathered, []
        return taken

    def learn(self, deliveries: Sequence[Delivery], took_s: float) -> None:
        """Storing these took so long."""
        most = most_bytes(self._most_bytes, _size_bytes(deliveries), took_s)
        self._most_bytes = min(most, BATCH_BYTES[self._lane])


def most_bytes(allowed_bytes: int, size_bytes: int, took_s: float) -> int:
    """How large the next batch may be, when `allowed_bytes` were and `size_bytes` were stored within `took_s`."""
    if took_s > BATCH_WITHIN_S:
        return max(FIRST_BATCH_BYTES // 2, int(size_bytes * BATCH_WITHIN_S / took_s))
    if took_s <= BATCH_WITHIN_S / 2 and size_bytes >= allowed_bytes / 4:
        return 2 * allowed_bytes
    return allowed_bytes


def _size_bytes(deliveries: Sequence[Delivery]) -> int:
    return sum(delivery.size_bytes for delivery in deliveries)
