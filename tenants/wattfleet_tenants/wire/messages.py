"""The messages of some bundles in one row, as columns: no object for each, and any bytes of many of them at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from wattfleet_native.fields import read_fields

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
        self._bytes = np.frombuffer(self._joined, np.uint8)
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

    def fields(
        self, positions: NDArray[np.intp], tags: Mapping[int, int], fields: Sequence[tuple[int, int]]
    ) -> tuple[NDArray[np.bool_], list[NDArray[np.uint8]]]:
        """Of these messages: which have all of `tags` in their places, and for each of `fields`, a place and a width,
        the bytes there, one message a row. All must have as many bytes."""
        lengths = self.lengths[positions]
        shortest = int(lengths.min()) if len(positions) else 0
        return read_fields(self._bytes, self._ends[positions] - lengths, shortest, tags, fields)
