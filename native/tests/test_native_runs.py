"""Runs are remote write, byte for byte, and whatever does not fit is refused before anything is written."""

import struct
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_native.runs import MOST_BYTES_BEFORE_SAMPLES, SAMPLE_BYTES, Readings, Runs, write_runs

METRIC = "power_watts"
ROOM = memoryview(bytearray(1_000_000))
LATEST_MS = 2**42 - 1


def varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low]) if number < 0x80 else bytes([low | 0x80]) + varint(number >> 7)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def label(name: str, value: str) -> bytes:
    return field(1, field(1, name.encode()) + field(2, value.encode()))


def sample(power_w: float, time_ms: int) -> bytes:
    padded = [time_ms >> 7 * place & 0x7F | 0x80 for place in range(5)] + [time_ms >> 35]
    return field(2, b"\x09" + struct.pack("<d", power_w) + b"\x10" + bytes(padded))


def readings_of(households: list[str], times_ms: list[int], power_dw: list[list[int]]) -> Readings:
    sockets = len(power_dw[0]) if power_dw else 1
    powers = np.array(power_dw, np.int32).reshape(-1, sockets)
    return Readings(np.array([one.encode() for one in households], "S28"), np.array(times_ms, np.uint64), powers)


def runs_of(counts: list[int], sockets: int, backwards: bool = False) -> Runs:
    columns = np.arange(sockets)[::-1] if backwards else np.arange(sockets)
    firsts = [0, *accumulate(counts)][: len(counts)]
    return Runs(columns, np.array(firsts, np.int64), np.array(counts, np.int64))


homes = st.lists(st.tuples(st.text("hab0", min_size=1, max_size=28), st.integers(1, 5)), max_size=5)


@given(homes, st.integers(1, 12), st.booleans(), st.data())
def test_each_series_is_written_with_its_labels_and_all_of_its_samples(
    homes: list[tuple[str, int]], sockets: int, backwards: bool, data: st.DataObject
) -> None:
    households = [name for name, count in homes for _ in range(count)]
    rows = len(households)
    times = data.draw(st.lists(st.integers(0, LATEST_MS), min_size=rows, max_size=rows))
    numbers = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=sockets, max_size=sockets)
    powers = data.draw(st.lists(numbers, min_size=rows, max_size=rows))
    runs = runs_of([count for _, count in homes], sockets, backwards)
    size = write_runs(ROOM, METRIC, readings_of(households, times, powers) if rows else _nothing(sockets), runs)
    wanted = b""
    first = 0
    for name, count in homes:
        for column in runs.columns.tolist():
            labels = label("__name__", METRIC) + label("household", name) + label("socket", str(column + 1))
            of_this = range(first, first + count)
            wanted += field(1, labels + b"".join(sample(powers[row][column] / 10, times[row]) for row in of_this))
        first += count
    assert bytes(ROOM[:size]) == wanted
    assert size <= runs.most_bytes


def _nothing(sockets: int) -> Readings:
    return Readings(np.array([], "S28"), np.array([], np.uint64), np.empty((0, sockets), np.int32))


def test_the_longest_labels_have_room() -> None:
    longest = readings_of(["h" * 28], [LATEST_MS], [[1] * 1_000])
    runs = runs_of([1], 1_000)
    assert write_runs(ROOM, "m" * 40, longest, runs) <= runs.most_bytes
    assert runs.most_bytes == 1_000 * (MOST_BYTES_BEFORE_SAMPLES + SAMPLE_BYTES)


def test_columns_that_are_not_in_one_piece_are_written_as_others() -> None:
    whole = readings_of(["ha", "ha", "hb", "hb"], [1, 2, 3, 4], [[1, 2], [3, 4], [5, 6], [7, 8]])
    every_other = Readings(*(column[::2] for column in whole))
    copied = Readings(*(column[::2].copy() for column in whole))
    runs = runs_of([1, 1], 2)
    size = write_runs(ROOM, METRIC, every_other, runs)
    first = bytes(ROOM[:size])
    assert first == bytes(ROOM[: write_runs(ROOM, METRIC, copied, runs)])


TWO = readings_of(["ha", "hb"], [1, 2], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("readings", "runs"),
    [
        (TWO, runs_of([3], 2)),
        (TWO, runs_of([1, 1, 1], 2)),
        (TWO, runs_of([0], 2)),
        (TWO, Runs(np.arange(2), np.array([-1]), np.array([1]))),
        (TWO, Runs(np.arange(2), np.array([2**62]), np.array([2**62]))),
        (TWO, Runs(np.arange(2), np.array([0, 1]), np.array([1]))),
        (TWO, runs_of([1], 3)),
        (TWO, Runs(np.array([0, 0]), np.array([0]), np.array([1]))),
        (TWO, Runs(np.array([0, -1]), np.array([0]), np.array([1]))),
        (TWO._replace(interval_start_ms=np.array([1], np.uint64)), runs_of([1], 2)),
        (TWO._replace(households=np.array([b"ha"], "S28")), runs_of([1], 2)),
    ],
)
def test_rows_and_columns_that_are_not_there_are_refused(readings: Readings, runs: Runs) -> None:
    with pytest.raises(IndexError):
        write_runs(ROOM, METRIC, readings, runs)


@pytest.mark.parametrize(
    ("metric", "readings"),
    [
        ("m" * 41, TWO),
        ("ü" * 21, TWO),
        (METRIC, TWO._replace(households=np.array([b"ha", b"hb"], "S29"))),
        (METRIC, TWO._replace(interval_start_ms=np.array([1, LATEST_MS + 1], np.uint64))),
    ],
)
def test_what_is_too_long_is_refused(metric: str, readings: Readings) -> None:
    with pytest.raises(ValueError, match=r"too many characters|2109"):
        write_runs(ROOM, metric, readings, runs_of([1, 1], 2))


@pytest.mark.parametrize("too_little", [1, 100])
def test_without_room_nothing_is_written(too_little: int) -> None:
    runs = runs_of([1, 1], 2)
    room = bytearray(b"?" * (runs.most_bytes - too_little))
    with pytest.raises(ValueError, match="room"):
        write_runs(memoryview(room), METRIC, TWO, runs)
    with pytest.raises(ValueError, match="room"):
        write_runs(memoryview(bytes(runs.most_bytes)), METRIC, TWO, runs)
    assert set(room) == {ord("?")}
