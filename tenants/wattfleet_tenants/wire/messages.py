"""The messages of some bundles in one row, as columns: no object for each, and any bytes of many of them at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.wire.bundle import HOUSEHOLD_BYTES, Bundle, household_column


class Messages:
    """A position counts through the messages of all bundles.

    households[i] sent message i, which has lengths[i] bytes.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        senders = b"".join(bundle.households for bundle in bundles)
        self.households: NDArray[np.bytes_] = np.frombuffer(senders, f"S{HOUSEHOLD_BYTES}")
        self.lengths = np.frombuffer(b"".join(bundle.lengths for bundle in bundles), "<u4").astype(np.intp)
        self._joined = b"".join(bundle.joined for bundle in bundles)
        self._ends = np.cumsum(self.lengths)

    @classmethod
    def of(cls, households: Sequence[bytes], messages: Sequence[bytes]) -> "Messages":
        """messages[i] was sent by households[i]."""
        return cls([Bundle.of("", 0, 0, map(household_column, households), messages)])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, position: int) -> bytes:
        end = int(self._ends[position])
        return self._joined[end - int(self.lengths[position]) : end]

    def cut(self, positions: NDArray[np.intp], at: int, width: int) -> NDArray[np.uint8]:
        """The bytes at..at + width - 1 of each of these messages, one message a row. Each must have as many."""
        if not width:
            return np.empty((len(positions), 0), np.uint8)
        starts = self._ends[positions] - self.lengths[positions] + at
        places = len(self._joined) - width + 1
        every: NDArray[np.void] = np.ndarray((places,), f"V{width}", self._joined, strides=(1,))
        chosen: NDArray[np.uint8] = every[starts].view(np.uint8)
        return chosen.reshape(len(positions), width)
