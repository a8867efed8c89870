"""Fields that are in the same places of many messages, read in one pass: `fields.c` does it.

In numpy it took a pass for each tag and two for each field, with most of the time spent waiting for memory.
"""

from collections.abc import Mapping, Sequence
from ctypes import c_size_t, c_void_p

import numpy as np
from numpy.typing import NDArray

from wattfleet_native.library import library

_read_fields = library().wattfleet_read_fields
_read_fields.restype = None
_read_fields.argtypes = [
    c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_size_t, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p,
    c_size_t,
]  # fmt: skip


def read_fields(
    row: NDArray[np.uint8],
    starts: NDArray[np.intp],
    message_bytes: int,
    tags: Mapping[int, int],
    fields: Sequence[tuple[int, int]],
) -> tuple[NDArray[np.bool_], list[NDArray[np.uint8]]]:
    """Of messages of `message_bytes` that begin at row[starts[i]]: which have all of `tags` in their places, and for
    each of `fields`, a place and a width, the bytes there, one message a row.

    Raises IndexError where a message, a tag or a field is not inside.
    """
    count = len(starts)
    if count and (starts.min() < 0 or starts.max() > len(row) - message_bytes):
        raise IndexError("not all of the messages are inside")
    if any(not 0 <= place <= place + width <= message_bytes for place, width in [*fields, *((tag, 1) for tag in tags)]):
        raise IndexError("not all of a message's fields are inside")
    ours = np.empty(count, np.bool_)
    columns = [np.empty((count, width), np.uint8) for _, width in fields]
    row, starts = np.ascontiguousarray(row, np.uint8), np.ascontiguousarray(starts, np.int64)
    to = np.array([column.ctypes.data for column in columns], np.uintp)
    tag_places, tag_bytes = np.array([*tags], np.int64), np.array([*tags.values()], np.uint8)
    places, widths = (np.array(numbers, np.int64) for numbers in zip(*fields, strict=True))
    _read_fields(
        ours.ctypes.data, to.ctypes.data, row.ctypes.data, starts.ctypes.data, count, message_bytes,
        tag_places.ctypes.data, tag_bytes.ctypes.data, len(tags), places.ctypes.data, widths.ctypes.data, len(fields),
    )  # fmt: skip
    return ours, columns
