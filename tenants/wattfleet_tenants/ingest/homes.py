"""What an ingest knows of each home: when it may send live again, how much of it is unsettled, where it is answered.

A home's first message in any 25 s is live, unless it says that it is old; whatever else it sends is backlog. So a home
that catches up keeps its place among the live ones with what it measures meanwhile, and cannot take that of another.
Its backlog may hold two weeks at a time, unless its quota is less: holidays without a writer, or 1,000 messages a
second, given that a writer holds each for 20 s.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from struct import Struct

from wattfleet_tenants.quota import DEFAULT_QUOTA
from wattfleet_tenants.wire.bundle import household_column

LIVE_EVERY_S = 25.0
"""Less than half of the minute in which a home sends one message: a late one does not make the next early."""
OLD_AFTER_MS = 4 * 60_000
"""A minute is sent within the next one; two more are for a clock that is wrong or a connection that was lost."""
MOST_UNSETTLED = DEFAULT_QUOTA.backlog_messages
"""Per home without a share of its own, in messages of up to UNIT_BYTES; larger ones count for several, so that 16 kB
each fill no stream."""
UNIT_BYTES = 1024
"""As much as the writer takes of one message; homes may send 16 times as much, and get it back in quarantine."""
_BEGINNING = Struct("<7xBQ")
_INTERVAL_START_TAG = 0x19


class Home:
    """name: the last token of its subject. column: the same in a bundle. inbox: how its own reply subjects begin.
    live_again_s: on the ingest's clock. unsettled: in units, packed or about to be, as far as this run of the ingest
    knows, of most_unsettled that are its share."""

    __slots__ = ("column", "inbox", "live_again_s", "most_unsettled", "name", "unsettled")

    def __init__(self, name: bytes, most_unsettled: int) -> None:
        self.name = name
        self.column = household_column(name)
        self.inbox = b"_INBOX.%b." % name
        self.live_again_s = 0.0
        self.unsettled = 0
        self.most_unsettled = most_unsettled


class Homes:
    """The homes that were heard of lately."""

    def __init__(self) -> None:
        self._by_name: dict[bytes, Home] = {}
        self._shares: Mapping[bytes, int] = {}
        self.get = self._by_name.get

    def __len__(self) -> int:
        return len(self._by_name)

    def meet(self, name: bytes) -> Home:
        """A home that `get` does not know yet."""
        home = self._by_name[name] = Home(name, self._share(name))
        return home

    def grant(self, shares: Mapping[bytes, int]) -> None:
        """These homes have shares of their own from now on, and no others. One that holds more keeps it for now."""
        changed = shares.keys() | self._shares.keys()
        self._shares = shares
        for home in filter(None, map(self.get, changed)):
            home.most_unsettled = self._share(home.name)

    def _share(self, name: bytes) -> int:
        return self._shares.get(name, MOST_UNSETTLED)

    def forget_idle(self, now_s: float) -> None:
        """Forgets those that could be met again without a difference."""
        idle = [home for home in self._by_name.values() if not home.unsettled and home.live_again_s <= now_s]
        for home in idle:
            del self._by_name[home.name]


class Unsettled:
    """The backlog's bundles that are in the stream, so that their homes' shares are given back once they are settled.

    8 bytes a message; a stream of 2 GiB holds 13 million messages.
    """

    def __init__(self) -> None:
        self._bundles: deque[tuple[int, Sequence[Home]]] = deque()
        self._first_position = 0

    def add(self, position: int, charged: Sequence[Home]) -> None:
        """A bundle is in the stream, for which each of `charged` has been charged one unit."""
        self._bundles.append((position, charged))

    def settled_below(self, first_position: int) -> None:
        """Whatever is before `first_position` is no longer in the stream; nor is anything of a stream made anew."""
        anew = first_position < self._first_position
        self._first_position = first_position
        while self._bundles and (anew or self._bundles[0][0] < first_position):
            _, charged = self._bundles.popleft()
            give_back(charged)


def charge(homes: Sequence[Home], messages: Sequence[bytes]) -> list[int]:
    """Charges each home for its message; returns which messages are beyond their homes' shares, and not charged."""
    beyond = []
    for i, (home, message) in enumerate(zip(homes, messages, strict=True)):
        unsettled = home.unsettled + (1 if len(message) <= UNIT_BYTES else _units(message))
        if unsettled > home.most_unsettled:
            beyond.append(i)
        else:
            home.unsettled = unsettled
    return beyond


def charged_for(homes: Sequence[Home], messages: Sequence[bytes]) -> Sequence[Home]:
    """The home of each message, once for every unit that it takes."""
    if max(map(len, messages), default=0) <= UNIT_BYTES:
        return homes
    return [home for home, message in zip(homes, messages, strict=True) for _ in range(_units(message))]


def give_back(charged: Sequence[Home]) -> None:
    """Each of `charged` gets back one unit."""
    for home in charged:
        home.unsettled -= 1


def _units(message: bytes) -> int:
    return max(1, -(-len(message) // UNIT_BYTES))


def is_old(message: bytes, began_before_ms: int) -> bool:
    """Whether `message` says, in the place where agents have it, that its interval began before a Unix time in ms.

    Only the writer reads a message; what has another layout is not old, and belongs to a home that has one live message
    in LIVE_EVERY_S like any other.
    """
    if len(message) < _BEGINNING.size:
        return False
    tag, began_ms = _BEGINNING.unpack_from(message)
    return bool(tag == _INTERVAL_START_TAG and began_ms < began_before_ms)
