"""What is fetched of one lane while the store is busy: the next batch, of bounded size.

So the slower the store is the larger batches get, and the more samples of a series they hold, which cost it less each:
600,000 series took 1.5 CPU-seconds per million samples with two in a batch, 0.8 to 1.3 with five, 0.7 with ten. A store
that is away finds a writer with two batches of each lane in hand, and the rest with the broker.
"""

from collections.abc import Sequence

from wattfleet_tenants.ports import Delivery, Inbox
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.persistence import Persistence

BATCH_BYTES = {Lane.LIVE: 8_000_000, Lane.BACKLOG: 48_000_000}
"""At most: about 50,000 and 290,000 messages of 30 readings. With two such backlogs in hand it takes 400 MB."""
GATHER_S = {Lane.LIVE: 1.0, Lane.BACKLOG: 0.1}
BATCH_WITHIN_S = 12.0
"""A batch that took the store longer makes the next one smaller: what waited behind it and was stored then must be
acknowledged, ACK_AFTER_S later, before the broker delivers it again."""
_ROOM_FOR_A_BUNDLE_BYTES = 1_000_000
"""The broker takes no larger message."""


class Gathering:
    """The bundles of one lane that are fetched and not yet being stored."""

    def __init__(self, lane: Lane, inbox: Inbox, persistence: Persistence) -> None:
        self._lane = lane
        self._inbox = inbox
        self._persistence = persistence
        self._gathered: list[Delivery] = []
        self._most_bytes = BATCH_BYTES[lane]

    def __len__(self) -> int:
        return len(self._gathered)

    async def fetch(self) -> bool:
        """Fetches what there is by and by; False, and fetches nothing, when what has gathered makes a batch."""
        room = self._most_bytes - _size_bytes(self._gathered)
        if room < _ROOM_FOR_A_BUNDLE_BYTES:
            return False
        wait_s = GATHER_S[self._lane]
        self._gathered += await self._persistence.until_done("inbox", lambda: self._inbox.fetch(room, wait_s))
        metrics.WAITING.labels(self._lane).set(self._inbox.waiting)
        return True

    def take(self) -> list[Delivery]:
        """All that has gathered, which is the taker's from now on."""
        taken, self._gathered = self._gathered, []
        return taken

    def learn(self, deliveries: Sequence[Delivery], took_s: float) -> None:
        """Storing these took so long."""
        self._most_bytes = most_bytes(BATCH_BYTES[self._lane], _size_bytes(deliveries), took_s)


def most_bytes(most: int, size_bytes: int, took_s: float) -> int:
    """How large the next batch may be, `most` at most, when one of `size_bytes` was stored within `took_s`."""
    if took_s <= BATCH_WITHIN_S / 2:
        return most
    return min(most, max(_ROOM_FOR_A_BUNDLE_BYTES, int(size_bytes * BATCH_WITHIN_S / took_s)))


def _size_bytes(deliveries: Sequence[Delivery]) -> int:
    return sum(delivery.size_bytes for delivery in deliveries)
