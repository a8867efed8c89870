"""Fields that are in the same places of many messages, read in one pass: `fields.c` does it.

In numpy it takes a pass for each tag and two for each field, and most of that time is spent waiting for memory.
"""

from collections.abc import Mapping, Sequence
from ctypes import c_size_t, c_void_p
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattfleet_native.library import library

_read_fields = library().wattfleet_read_fields
_read_fields.restype = None
_read_fields.argtypes = [
    c_void_p, c_void_p, c_void_p, c_size_t, c_size_t, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_size_t,
]  # fmt: skip


class Fields(NamedTuple):
    """ours[i]: whether message i has all tags. columns[k][i]: the bytes of its field k."""

    ours: NDArray[np.bool_]
    columns: list[NDArray[np.uint8]]


def read_fields(
    addresses: NDArray[np.uintp], message_bytes: int, tags: Mapping[int, int], fields: Sequence[tuple[int, int]]
) -> Fields:
    """Of the messages at `addresses`, which have so many bytes each: whether they have `tags` in their places, and what
    is in their `fields`, at least one, each a place and a width.

    Raises IndexError for a tag or a field that is not inside of a message. That there are messages, and that they stay
    there meanwhile, is up to the caller.
    """
    if any(not 0 <= place <= place + width <= message_bytes for place, width in [*fields, *((tag, 1) for tag in tags)]):
        raise IndexError("not all of a message's fields are inside")
    ours = np.empty(len(addresses), np.bool_)
    columns = [np.empty((len(addresses), width), np.uint8) for _, width in fields]
    messages = np.ascontiguousarray(addresses, np.uintp)
    to = np.array([column.ctypes.data for column in columns], np.uintp)
    tag_places, tag_bytes = np.array([*tags], np.int64), np.array([*tags.values()], np.uint8)
    places, widths = (np.array(numbers, np.int64) for numbers in zip(*fields, strict=True))
    _read_fields(
        ours.ctypes.data, to.ctypes.data, messages.ctypes.data, len(messages), message_bytes,
        tag_places.ctypes.data, tag_bytes.ctypes.data, len(tags), places.ctypes.data, widths.ctypes.data, len(fields),
    )  # fmt: skip
    return Fields(ours, columns)
