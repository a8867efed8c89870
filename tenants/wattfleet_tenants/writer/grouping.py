"""Which messages of a batch are of one household, found without comparing whole ids; in the store's order."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.writer import order

_KEY = slice(1, 9)  # characters of an id that usually tell households apart: behind the "h", and in ids of every length


def by_household(households: NDArray[np.bytes_]) -> Iterator[NDArray[np.intp]]:
    """The messages' indices as matrices: the messages of one household are a row, those with equally many a matrix.

    Rows are in the order in which the store keeps households.
    """
    characters = np.ascontiguousarray(households).view(np.uint8).reshape(len(households), -1)
    keys = np.ascontiguousarray(characters[:, _KEY]).view(np.uint64).reshape(-1)
    groups = list(_by_key(keys))
    if any((households[group] != households[group[:, :1]]).any() for group in groups):
        _, whole = np.unique(households, return_inverse=True)
        groups = list(_by_key(whole.astype(np.uint64)))
    for group in groups:
        yield group[np.argsort(order.ranks(households[group[:, 0]].tolist()))]


def _by_key(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.intp]]:
    sorted_ = np.argsort(keys, kind="stable")
    firsts = np.flatnonzero(np.diff(keys[sorted_], prepend=~keys[sorted_[:1]]))
    counts = np.diff(firsts, append=len(sorted_))
    for count in np.unique(counts).tolist():
        yield sorted_[firsts[counts == count][:, None] + np.arange(count)]
