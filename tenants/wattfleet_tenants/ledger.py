"""The ledger: *sent = stored + quarantined + pending*, exactly, whoever was killed on the way.

An ingest numbers the bundles of its run without gaps, and each says how many messages came before it. A writer records
which numbers it settled before the broker may forget them; recording one twice changes nothing. What was sent is then
known from the highest bundle that anybody saw, and a number that is neither settled nor waiting was lost.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from wattfleet_tenants.subjects import Lane


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one bundle. sent_through: how many messages its run had sent up to and with it."""

    lane: Lane
    run: str
    number: int
    sent_through: int
    stored: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages, as an ingest acknowledged them (one that was sent twice counts twice)."""

    sent: int
    stored: int
    quarantined: int
    pending: int
    lost: int

    def balanced(self) -> bool:
        """Whether every message that was sent is stored, quarantined or still on its way."""
        return self.lost == 0 and self.sent == self.stored + self.quarantined + self.pending


@dataclass(slots=True)
class Account:
    """The account of one run and lane. settled: disjoint ascending ranges (first, last) of bundle numbers."""

    settled: list[tuple[int, int]] = field(default_factory=list)
    sent_through: int = 0
    stored: int = 0
    quarantined: int = 0

    @property
    def bundles(self) -> int:
        """How many bundles are settled."""
        return sum(last - first + 1 for first, last in self.settled)

    @property
    def highest(self) -> int:
        """The highest settled number, 0 when there is none."""
        return self.settled[-1][1] if self.settled else 0

    def settle(self, entries: Iterable[Settled]) -> bool:
        """Records `entries` of this run and lane; returns whether any of them was new."""
        new = {entry.number: entry for entry in entries if not self._knows(entry.number)}
        for entry in new.values():
            self.sent_through = max(self.sent_through, entry.sent_through)
            self.stored += entry.stored
            self.quarantined += entry.quarantined
        self.settled = _merged([*self.settled, *((number, number) for number in new)])
        return bool(new)

    @property
    def complete(self) -> bool:
        """Whether every bundle up to the highest one is settled."""
        return self.bundles == self.highest

    def settled_up_to(self, number: int) -> int:
        """How many of the bundles numbered 1..number are settled."""
        return sum(min(last, number) - first + 1 for first, last in self.settled if first <= number)

    def totals(self, sent: int, published: int, waiting: int) -> Totals:
        """How it stands, given that `sent` messages in bundles 1..published went into the stream, and that at least
        all those of them that were not settled then are among the `waiting` bundles that are still in it.

        That bundles were lost shows at once; how many messages those held is known when nothing waits any more, and
        until then each counts as one.
        """
        sent = max(sent, self.sent_through)
        unsettled = sent - self.stored - self.quarantined
        lost_bundles = max(0, published - self.settled_up_to(published) - waiting)
        lost = unsettled if lost_bundles and not waiting else lost_bundles
        return Totals(sent, self.stored, self.quarantined, unsettled - lost, lost)

    def to_json(self) -> bytes:
        """As it is kept."""
        kept = {"settled": self.settled, "sent": self.sent_through, "stored": self.stored}
        return json.dumps(kept | {"quarantined": self.quarantined}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Account":
        """What `to_json` wrote; raises ValueError for anything else."""
        try:
            kept = json.loads(text)
            settled = [(int(first), int(last)) for first, last in kept["settled"]]
            return cls(settled, int(kept["sent"]), int(kept["stored"]), int(kept["quarantined"]))
        except (KeyError, TypeError) as error:
            raise ValueError("this is no account of the ledger") from error

    def _knows(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.settled)


def total(parts: Iterable[Totals]) -> Totals:
    """All of them added up."""
    sums = [0, 0, 0, 0, 0]
    for part in parts:
        for i, count in enumerate((part.sent, part.stored, part.quarantined, part.pending, part.lost)):
            sums[i] += count
    return Totals(*sums)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
