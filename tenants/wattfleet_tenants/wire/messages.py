"""The messages of some bundles in one row, as columns: no object for each, and fields of many of them at once."""

from collections.abc import Mapping, Sequence
from ctypes import string_at

import numpy as np
from numpy.typing import NDArray
from wattfleet_native.fields import Fields, read_fields

from wattfleet_tenants.wire.bundle import HOUSEHOLD_BYTES, Bundle, household_column


class Messages:
    """A position counts through the messages of all bundles.

    households[i] sent message i, which has lengths[i] bytes. Raises ValueError for a bundle whose messages have other
    lengths than it says.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        senders = b"".join(bundle.households for bundle in bundles)
        self.households: NDArray[np.bytes_] = np.frombuffer(senders, f"S{HOUSEHOLD_BYTES}")
        self.lengths = np.frombuffer(b"".join(bundle.lengths for bundle in bundles), "<u4").astype(np.intp)
        self._joined = [np.frombuffer(bundle.joined, np.uint8) for bundle in bundles]
        self._addresses = self._checked_addresses(np.array([len(bundle) for bundle in bundles], np.intp))

    @classmethod
    def of(cls, households: Sequence[bytes], messages: Sequence[bytes]) -> "Messages":
        """messages[i] was sent by households[i]."""
        return cls([Bundle.of("", 0, 0, map(household_column, households), messages)])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, position: int) -> bytes:
        return string_at(int(self._addresses[position]), int(self.lengths[position]))

    def fields(
        self, positions: NDArray[np.intp], length: int, tags: Mapping[int, int], fields: Sequence[tuple[int, int]]
    ) -> Fields:
        """Of these messages, which have `length` bytes each: see `read_fields`. Raises IndexError for a shorter one."""
        if (self.lengths.take(positions) < length).any():
            raise IndexError("messages that are shorter")
        return read_fields(self._addresses.take(positions), length, tags, fields)

    def _checked_addresses(self, counts: NDArray[np.intp]) -> NDArray[np.uintp]:
        """Where each message is, given how many each bundle has: they stay in their bundles, which `_joined` keeps."""
        ends = np.cumsum(self.lengths)
        bytes_before = np.cumsum([0, *(len(joined) for joined in self._joined)])
        if np.concatenate(([0], ends))[np.cumsum([0, *counts])].tolist() != bytes_before.tolist():
            raise ValueError("messages of other lengths than their bundle says")
        bases = np.array([joined.ctypes.data for joined in self._joined], np.intp) - bytes_before[:-1]
        return (np.repeat(bases, counts) + ends - self.lengths).view(np.uintp)
