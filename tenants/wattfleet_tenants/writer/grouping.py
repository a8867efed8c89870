"""Who sent the messages of a batch, and the order in which the store likes them best: its own, household by household.

A batch is read in this order, so that what comes behind finds a household's messages behind each other. Nothing but
speed depends on that.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.writer import order
from wattfleet_tenants.writer.roster import Roster
from wattfleet_tenants.writer.tokens import different


@dataclass(frozen=True, slots=True)
class Senders:
    """numbers[i]: who sent message i, in a roster. ranks[i]: theirs. positions: of all messages in the store's order,
    those of one household as they came."""

    numbers: NDArray[np.intp]
    ranks: NDArray[np.int64]
    positions: NDArray[np.intp]

    def mark(self, some: Collection[int]) -> NDArray[np.bool_]:
        """For each position, whether one of `some` sent it."""
        return np.isin(self.numbers, list(some))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Rows of a batch that follow each other and are of one household: counts[i] of them from row firsts[i] on."""

    firsts: NDArray[np.intp]
    counts: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.firsts)

    def only(self, some: slice) -> "Neighbours":
        """Those in a slice."""
        return Neighbours(self.firsts[some], self.counts[some])

    def cut(self, most: int) -> "Neighbours":
        """The same rows, where more than `most` of one household are several neighbours."""
        parts = -(-self.counts // most)
        before = np.repeat(np.cumsum(parts) - parts, parts)
        offsets = (np.arange(len(before)) - before) * most
        left = np.repeat(self.counts, parts) - offsets
        return Neighbours(np.repeat(self.firsts, parts) + offsets, np.minimum(left, most))

    def matrices(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """For each count: which neighbours have it, and their rows, those of one household a row of the matrix."""
        for count in np.unique(self.counts).tolist():
            which = np.flatnonzero(self.counts == count)
            yield which, self.firsts[which, None] + np.arange(count)


def senders(households: NDArray[np.bytes_], roster: Roster) -> Senders:
    """Who sent what, given the sender of each message."""
    numbers = roster.numbers(households)
    ranks = roster.ranks[numbers]
    return Senders(numbers, ranks, order.in_order(ranks))


def neighbours(households: NDArray[np.bytes_]) -> Neighbours:
    """Which rows belong together, given each row's household."""
    first = np.ones(len(households), np.bool_)
    first[1:] = different(households[1:], households[:-1])
    firsts = np.flatnonzero(first)
    return Neighbours(firsts, np.diff(firsts, append=len(households)))
