"""Fields are read exactly where they are, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_native.fields import read_fields

MESSAGE_BYTES = 20


def addresses_of(messages: np.ndarray) -> np.ndarray:
    return (messages.ctypes.data + np.arange(len(messages)) * messages.strides[0]).astype(np.uintp)


@given(
    st.lists(st.binary(min_size=MESSAGE_BYTES, max_size=MESSAGE_BYTES), max_size=30),
    st.dictionaries(st.integers(0, MESSAGE_BYTES - 1), st.integers(0, 3), max_size=3),
    st.lists(st.tuples(st.integers(0, MESSAGE_BYTES), st.integers(0, MESSAGE_BYTES)), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_fields_and_tags_are_those_of_each_message(messages, tags, fields, chance) -> None:
    fields = [(place, min(width, MESSAGE_BYTES - place)) for place, width in fields]
    order = list(range(len(messages)))
    chance.shuffle(order)
    joined = np.frombuffer(b"".join(messages), np.uint8).reshape(-1, MESSAGE_BYTES)
    found = read_fields(addresses_of(joined)[order], MESSAGE_BYTES, tags, fields)
    ordered = [messages[i] for i in order]
    assert found.ours.tolist() == [all(one[place] == tag for place, tag in tags.items()) for one in ordered]
    for (place, width), column in zip(fields, found.columns, strict=True):
        assert [bytes(row) for row in column] == [one[place : place + width] for one in ordered]


@pytest.mark.parametrize("fields", [[(0, 21)], [(-1, 2)], [(20, 1)], [(5, -1)], [(0, 4), (2**62, 2**62)]])
def test_a_field_that_is_not_inside_is_refused(fields: list[tuple[int, int]]) -> None:
    messages = np.zeros((3, MESSAGE_BYTES), np.uint8)
    with pytest.raises(IndexError, match="inside"):
        read_fields(addresses_of(messages), MESSAGE_BYTES, {}, fields)


@pytest.mark.parametrize("place", [-1, MESSAGE_BYTES])
def test_a_tag_that_is_not_inside_is_refused(place: int) -> None:
    messages = np.zeros((3, MESSAGE_BYTES), np.uint8)
    with pytest.raises(IndexError, match="inside"):
        read_fields(addresses_of(messages), MESSAGE_BYTES, {place: 1}, [(0, 1)])
