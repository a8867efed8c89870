"""What waits to be packed, one queue per lane, and how much of it makes a bundle."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from wattfleet_tenants.ingest.homes import Home

MOST_MESSAGES_PER_BUNDLE = 4_000
MOST_BYTES_PER_BUNDLE = 600_000
"""Well below the broker's limit of 1 MB for one message. Packing gains nothing beyond: see carrier.py."""
MOST_WAITING = 50_000
MOST_WAITING_BYTES = 32 * 2**20
"""Of one lane. More than all homes of a shard have to say at once, or one home's whole backlog."""

_BYTES_BESIDE_MESSAGE = 40
"""Its home's name and the lengths of both."""


@dataclass(slots=True)
class Parcel:
    """homes[i] sent messages[i] and is answered on replies[i], or not at all where that is empty."""

    homes: list[Home] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.messages)

    def pick(self, positions: list[int]) -> "Parcel":
        """Those of its messages."""
        return Parcel(
            [self.homes[i] for i in positions],
            [self.messages[i] for i in positions],
            [self.replies[i] for i in positions],
        )

    def cut_off(self, count: int) -> "Parcel":
        """Takes the first `count` messages out of this parcel."""
        if count == len(self):
            everything = Parcel(self.homes, self.messages, self.replies)
            self.homes, self.messages, self.replies = [], [], []
            return everything
        first = Parcel(self.homes[:count], self.messages[:count], self.replies[:count])
        del self.homes[:count], self.messages[:count], self.replies[:count]
        return first


class Waiting:
    """Messages in the order in which they came."""

    def __init__(self) -> None:
        self._parcel = Parcel()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._parcel)

    def add(self, parcel: Parcel) -> Parcel:
        """Takes what there is room for out of the front of `parcel`; returns `parcel` with the rest."""
        room, room_bytes = MOST_WAITING - len(self), MOST_WAITING_BYTES - self._bytes
        size = sum(map(len, parcel.messages))
        if len(parcel) > room or size > room_bytes:
            ends = list(accumulate(map(len, parcel.messages[:room])))
            taken = parcel.cut_off(bisect_right(ends, room_bytes))
            size = sum(map(len, taken.messages))
        else:
            taken, parcel = parcel, Parcel()
        self._bytes += size
        if not self._parcel.messages:
            self._parcel = taken
            return parcel
        self._parcel.homes += taken.homes
        self._parcel.messages += taken.messages
        self._parcel.replies += taken.replies
        return parcel

    def take_bundle(self) -> Parcel:
        """The oldest messages, as many as fit into one bundle."""
        sizes = list(map(len, self._parcel.messages[:MOST_MESSAGES_PER_BUNDLE]))
        count = len(sizes)
        if sum(sizes) + count * _BYTES_BESIDE_MESSAGE > MOST_BYTES_PER_BUNDLE:
            ends = accumulate(size + _BYTES_BESIDE_MESSAGE for size in sizes)
            count = bisect_right(list(ends), MOST_BYTES_PER_BUNDLE)
        bundle = self._parcel.cut_off(count)
        self._bytes -= sum(map(len, bundle.messages))
        return bundle
