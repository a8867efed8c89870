"""What has arrived and is not stored yet, and whose turn it is: household after household in the store's own order, and
round and round.

A series that the store has to look up costs it as much as ten more samples of it. So a household's readings wait until
its turn comes: the busier the store is, the longer a round takes, and the more has gathered for each visit. On average
a reading waits for half a round. Batches of everything, of which one gathers while another is stored, keep up to two of
them waiting for as many samples a visit: at 33,333 messages/s of 600,000 series, in turn on a slow machine, the backlog
was 6.5 and 7.0 s with them and 3.5 and 6.6 s so; as fast as it goes, the store's work was a third less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer.arrived import Arrived
from wattfleet_tenants.writer.order import in_order

RANKS = 2**32
"""Households have ranks below it, evenly spread; see `order`."""
WORTH_A_ROUND = 1_000
"""Messages. Fewer cost the store little, whatever they cost each."""
PORTIONS = 8
"""A round of much has so many, of as many households each."""
LEAST_MESSAGES = 8_000
"""A portion has as many where it can, so that its bodies are not small."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What is stored next: batches in the store's order, and how many messages of whom they hold."""

    batches: list[PowerBatch]
    messages: list[tuple[Arrived, int]]


@dataclass(slots=True)
class _Part:
    """The messages of one layout, of one arrival, that wait for this round or for the next one."""

    arrived: Arrived
    batch: PowerBatch
    ranks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ranks)

    def split(self, rank: int) -> tuple["_Part", "_Part"]:
        """What is before `rank`, and what is not."""
        at = int(np.searchsorted(self.ranks, rank))
        return (
            _Part(self.arrived, self.batch.only(slice(at)), self.ranks[:at]),
            _Part(self.arrived, self.batch.only(slice(at, None)), self.ranks[at:]),
        )


@dataclass(slots=True)
class Sweep:
    """Households below `_at` have had their turn in this round; what arrives of them waits for the next one."""

    _at: int = 0
    _this_round: list[_Part] = field(default_factory=list)
    _next_round: list[_Part] = field(default_factory=list)
    _messages: int = 0
    rounds: int = 0

    def __len__(self) -> int:
        return self._messages

    def add(self, arrived: Arrived) -> None:
        """What has arrived waits from now on; `arrived` itself keeps none of it."""
        for batch, ranks in arrived.batches:
            if (ranks[1:] < ranks[:-1]).any():
                sequence = in_order(ranks)
                batch, ranks = batch.in_order(sequence), ranks[sequence]  # noqa: PLW2901
            self._messages += len(ranks)
            passed, ahead = _Part(arrived, batch, ranks).split(self._at)
            self._next_round += [passed] if len(passed) else []
            self._this_round += [ahead] if len(ahead) else []
        arrived.batches = []

    def take(self) -> Portion:
        """What has its turn now: everything when that is little."""
        if not self.waits_for_a_round:
            taken = self._this_round + self._next_round
            self._this_round, self._next_round, self._messages = [], [], 0
            self._begin_round()
            return _portion(taken)
        end = self._end_of_portion()
        halves = [part.split(end) for part in self._this_round]
        self._this_round = [after for _, after in halves if len(after)]
        self._at = end
        if not self._this_round:
            self._begin_round()
        taken = [before for before, _ in halves if len(before)]
        self._messages -= sum(map(len, taken))
        return _portion(taken)

    @property
    def share_done(self) -> float:
        """How much of this round is done, from 0 to 1."""
        return self._at / RANKS

    @property
    def waits_for_a_round(self) -> bool:
        """Whether so much waits that what comes of a household shall gather until its turn comes."""
        return len(self) > WORTH_A_ROUND

    @property
    def messages_a_visit(self) -> float:
        """How many messages of a household there are in the next portion, on average."""
        end = self._end_of_portion()
        ranks = np.concatenate([part.ranks[: np.searchsorted(part.ranks, end)] for part in self._this_round])
        ranks.sort()  # a sixth of what `np.unique` takes
        return len(ranks) / (1 + np.count_nonzero(np.diff(ranks)))

    def _end_of_portion(self) -> int:
        """Up to which rank the next portion goes, one message at least.

        In a steady stream, whose turn is next has waited for a whole round, and all have waited for half of one on
        average: a share of the ranks holds twice that share of what waits.
        """
        width = RANKS // min(PORTIONS, max(1, 2 * len(self) // LEAST_MESSAGES))
        first = min(int(part.ranks[0]) for part in self._this_round)
        end = max(first + 1, self._at + width)
        return end if end + width // 2 <= RANKS else RANKS

    def _begin_round(self) -> None:
        self._this_round, self._next_round = self._next_round, []
        self._at = 0
        self.rounds += 1


def _portion(parts: Sequence[_Part]) -> Portion:
    shapes: dict[tuple[int, int], list[_Part]] = {}
    for part in parts:
        shapes.setdefault((part.batch.power_dw.shape[1], part.batch.temperature_cc.shape[1]), []).append(part)
    return Portion([_merged(alike) for alike in shapes.values()], [(part.arrived, len(part)) for part in parts])


def _merged(parts: Sequence[_Part]) -> PowerBatch:
    """All of them, in the store's order; what a household sent first comes first."""
    if len(parts) == 1:
        return parts[0].batch
    sequence = in_order(np.concatenate([part.ranks for part in parts]))
    return PowerBatch.joined([part.batch for part in parts], sequence)
