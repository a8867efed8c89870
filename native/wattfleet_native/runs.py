"""Powers as Prometheus remote write: every series once, with all of its samples behind it. `runs.c` writes it."""

from ctypes import c_char_p, c_size_t, c_void_p
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattfleet_native.library import library

SAMPLE_BYTES = 18
MOST_BYTES_BEFORE_SAMPLES = 128
"""Of a series whose metric has MOST_METRIC_BYTES."""
MOST_METRIC_BYTES = 40
MOST_HOUSEHOLD_BYTES = 28
_TYPES = (np.bytes_, np.uint64, np.int32, np.int64, np.int64, np.int64)
_TIME_BITS = 42  # until the year 2109

_write_runs = library().wattfleet_write_runs
_write_runs.restype = c_size_t
_write_runs.argtypes = [
    c_void_p, c_char_p, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_size_t,
]  # fmt: skip


class Readings(NamedTuple):
    """A row for each message: households[k] sent it, interval_start_ms[k] is its Unix time, and power_dw[k, j] are the
    deciwatts of socket j + 1."""

    households: NDArray[np.bytes_]
    interval_start_ms: NDArray[np.uint64]
    power_dw: NDArray[np.int32]


class Runs(NamedTuple):
    """What is written of them: counts[i] rows from row firsts[i] on are of one household. columns: of the powers, in
    which order the sockets come, each once."""

    columns: NDArray[np.intp]
    firsts: NDArray[np.intp]
    counts: NDArray[np.intp]

    @property
    def most_bytes(self) -> int:
        """They take no more than that."""
        samples_bytes = SAMPLE_BYTES * int(self.counts.sum())
        return (MOST_BYTES_BEFORE_SAMPLES * len(self.firsts) + samples_bytes) * len(self.columns)


def write_runs(out: memoryview, metric: str, readings: Readings, runs: Runs) -> int:
    """Writes the series of some households into `out`, one household behind the other, with powers in W; returns how
    many bytes that took.

    Raises ValueError for a time or a text that is too long and where there is no room, IndexError for a row or column
    that is not there.
    """
    arrays = zip((*readings, *runs), _TYPES, strict=True)
    kept = [np.ascontiguousarray(array, its_type) for array, its_type in arrays]
    readings, runs = Readings(*kept[:3]), Runs(*kept[3:])
    _check(metric, readings, runs)
    if out.readonly or out.nbytes < runs.most_bytes:
        raise ValueError("no room for the runs")
    texts, times, powers, columns, firsts, counts = (array.ctypes.data for array in kept)
    written: int = _write_runs(
        np.frombuffer(out, np.uint8).ctypes.data, metric.encode(), texts, readings.households.itemsize, times, powers,
        columns, len(runs.columns), firsts, counts, len(runs.firsts),
    )  # fmt: skip
    return written


def _check(metric: str, readings: Readings, runs: Runs) -> None:
    """That nothing outside of the arrays is read, and nothing behind the end of what is written."""
    (households, times, powers), (columns, firsts, counts) = readings, runs
    rows, sockets = powers.shape
    if len(households) != rows or len(times) != rows or len(firsts) != len(counts):
        raise IndexError("columns of different lengths")
    if (firsts < 0).any() or (counts < 1).any() or (counts > rows).any() or (firsts > rows - counts).any():
        raise IndexError("there are no such rows")
    if sorted(columns.tolist()) != list(range(sockets)):
        raise IndexError("not each socket once")
    if households.itemsize > MOST_HOUSEHOLD_BYTES or len(metric.encode()) > MOST_METRIC_BYTES:
        raise ValueError("a household or a metric of too many characters")
    if rows and int(times.max()) >> _TIME_BITS:
        raise ValueError("a time after the year 2109")
