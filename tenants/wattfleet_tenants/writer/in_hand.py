"""What a writer has fetched of a lane and not stored yet, and how much it may be.

The more it is, the more samples of a series are stored at a visit, and the cheaper each is: 600,000 series took 1.5
CPU-seconds per million samples with two at a time, 0.8 to 1.3 with five, 0.7 with ten. But what is in hand must be
stored, and ACK_AFTER_S later acknowledged, before the broker delivers it again. So it grows by doubling while the store
keeps up, and shrinks when it does not. A store that is away finds so much with a writer, and the rest with the broker.
"""

from collections.abc import Sequence

from wattfleet_tenants.ports import Delivery
from wattfleet_tenants.subjects import Lane

MOST_BYTES = {Lane.LIVE: 16_000_000, Lane.BACKLOG: 96_000_000}
"""About 95,000 and 570,000 messages of 30 readings. A writer with such a backlog takes 400 MB."""
STORED_WITHIN_S = 24.0
LARGEST_BUNDLE_BYTES = 1_100_000
"""The broker takes no larger message (`max_payload`), whatever the ingest makes."""
FIRST_BYTES = 8 * LARGEST_BUNDLE_BYTES


class InHand:
    """The bundles of one lane."""

    def __init__(self, lane: Lane) -> None:
        self._allowed_bytes = FIRST_BYTES
        self._most_ever_bytes = MOST_BYTES[lane]
        self._sizes: dict[str, int] = {}
        self._bytes = self._most_lately_bytes = 0
        self._slowest_s: float | None = None

    @property
    def receipts(self) -> list[str]:
        """What acknowledges them, or gives them back."""
        return list(self._sizes)

    @property
    def room_bytes(self) -> int:
        """How much more may be fetched at once; 0 when one bundle might be too much.

        A quarter of what is allowed: when one fetch fills everything, nothing is fetched until all of it is stored.
        """
        room = min(self._allowed_bytes - self._bytes, self._allowed_bytes // 4)
        return room if room >= LARGEST_BUNDLE_BYTES else 0

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """These are fetched."""
        for delivery in deliveries:
            self._sizes[delivery.receipt] = delivery.size_bytes
        self._bytes = sum(self._sizes.values())
        self._most_lately_bytes = max(self._most_lately_bytes, self._bytes)

    def let_go(self, receipts: Sequence[str], took_s: float) -> None:
        """These are stored, so long after they were fetched."""
        for receipt in receipts:
            self._bytes -= self._sizes.pop(receipt, 0)
        self._slowest_s = max(self._slowest_s or 0.0, took_s)

    def learn(self) -> None:
        """To be called once a round: how much may be in hand, from what was, and how long it took, since the last."""
        if self._slowest_s is None:
            return
        allowed = allowed_bytes(self._allowed_bytes, self._most_lately_bytes, self._slowest_s)
        self._allowed_bytes = min(allowed, self._most_ever_bytes)
        self._most_lately_bytes, self._slowest_s = self._bytes, None


def allowed_bytes(allowed_before_bytes: int, in_hand_bytes: int, took_s: float) -> int:
    """How much may be in hand, when `allowed_before_bytes` might be and `in_hand_bytes` were stored within `took_s`."""
    if took_s > STORED_WITHIN_S:
        return max(FIRST_BYTES // 2, int(in_hand_bytes * STORED_WITHIN_S / took_s))
    if took_s <= STORED_WITHIN_S / 2 and in_hand_bytes >= allowed_before_bytes / 4:
        return 2 * allowed_before_bytes
    return allowed_before_bytes
