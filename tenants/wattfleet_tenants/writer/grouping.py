"""Who sent the messages of a batch, and the order in which the store likes them best: its own, household by household.

A batch is read in this order, so that what comes behind finds a household's messages behind each other. Nothing but
speed depends on that.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.writer import order

_KEY = slice(1, 9)  # characters of an id that usually tell households apart: behind the "h", and in ids of every length


@dataclass(frozen=True, slots=True)
class Senders:
    """names[i] sent counts[i] messages. positions: of the messages of the first, as they came, then of the second, and
    so on, in the store's order."""

    names: list[bytes]
    counts: NDArray[np.intp]
    positions: NDArray[np.intp]
    ranks: NDArray[np.int64]
    """Of names[i] in the store's order."""

    def rank_of_each(self) -> NDArray[np.int64]:
        """For each position, its sender's rank."""
        return self._spread(self.ranks)

    def mark(self, some: Collection[bytes]) -> NDArray[np.bool_]:
        """For each position, whether one of `some` sent it."""
        chosen = np.fromiter((name in some for name in self.names), np.bool_, len(self.names))
        return self._spread(chosen)

    def _spread(self, of_names: NDArray[Any]) -> NDArray[Any]:
        spread = np.empty(len(self.positions), of_names.dtype)
        spread[self.positions] = np.repeat(of_names, self.counts)
        return spread


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


def senders(households: NDArray[np.bytes_]) -> Senders:
    """Who sent what, given the sender of each message, found without comparing whole ids."""
    characters = np.ascontiguousarray(households).view(np.uint8).reshape(len(households), households.itemsize)
    keys = np.ascontiguousarray(characters[:, _KEY]).view(np.uint64).reshape(-1)
    positions = np.argsort(keys, kind="stable")
    found = neighbours(households[positions])
    if len(found.firsts) != np.count_nonzero(np.diff(keys[positions])) + bool(len(keys)):  # ids with one key
        positions = np.argsort(households, kind="stable")
        found = neighbours(households[positions])
    names = households[positions[found.firsts]]
    ranks = order.ranks(names.tolist())
    sequence = np.argsort(ranks)
    firsts, counts = found.firsts[sequence], found.counts[sequence]
    starts = np.cumsum(counts) - counts
    moved = np.repeat(firsts - starts, counts) + np.arange(len(positions))
    return Senders(names[sequence].tolist(), counts, positions[moved], ranks[sequence])


def neighbours(households: NDArray[np.bytes_]) -> Neighbours:
    """Which rows belong together, given each row's household."""
    firsts = np.flatnonzero(np.concatenate(([True], households[1:] != households[:-1]))[: len(households)])
    return Neighbours(firsts, np.diff(firsts, append=len(households)))
