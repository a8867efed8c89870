"""Readings as CSV, written by numpy: one row of a fixed width per sample, in the columns of `adapters.victoriametrics`.

    1790000040000,h0123456789abcdefghij,000012.3,7,,\\r      power of socket 7
    1790000040000,h0123456789abcdefghij,,,00021.50,1\\r      temperature at thermometer 1

Zeros in front of times and numbers keep the width, and so does a carriage return behind a number of one digit. So a
batch is a matrix that is filled column by column: what is the same in all rows of a message once for each message, the
numbers from a table of all plausible ones. What is stored is exactly what was measured, and every value costs the same.

Rows are in the store's own order, and samples of one series follow each other when a batch holds several messages of a
household: the store then looks its series up once, which is the largest part of its work.

Chosen by CPU-seconds per million samples (VictoriaMetrics + rendering and sending; 60,000 series, on a busy machine
that was about twice as slow as a quiet one, so that only the ratios count):

    samples of a series apart, 60,000 series     CSV 1.6-1.9 + 0.06   text 2.0-2.2 + 0.12   remote write 1.8 + 0.24
    the same at 600,000 series                   CSV 2.2 + 0.07       text 2.6 + 0.11       remote write 2.5 + 0.23
    two samples of a series behind each other    CSV 1.2-1.6 + 0.08   text 1.5 + 0.12       remote write 1.3 + 0.16

Remote write (no text at all, snappy without compression) is so cheap in the store only in bodies of 200 messages; in
one of 4,000 it costs 3.2. Two columns that stay empty cost nothing that could be measured. Bytes per sample: CSV 50,
text 92, remote write 105.
"""

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import order
from wattfleet_tenants.writer.checks import MAX_TEMPERATURE_C, MIN_TEMPERATURE_C
from wattfleet_tenants.writer.grouping import neighbours

_TIME_DIGITS = 13  # until the year 2286

Fields = NDArray[np.void] | NDArray[np.uint64]
"""Texts of one width that are only copied, which numpy does fastest as opaque bytes, and as integers where they fit."""


class Renderer:
    """Writes batches whose values passed the checks; a value beyond `max_power_w` has no entry in its table."""

    def __init__(self, max_power_w: int) -> None:
        self._power = _Kind(_Decimals(b"", -max_power_w, max_power_w, 1), b",,")
        temperatures = _Decimals(b",,", int(MIN_TEMPERATURE_C), int(MAX_TEMPERATURE_C), 2)
        self._temperature = _Kind(temperatures, b"")

    def render(self, batch: PowerBatch) -> memoryview:
        """All samples of `batch`, one row each; missing readings have no row. Raises IndexError for an unchecked value.

        Rows of one series are in the order of their messages. What was rendered can be sent as it is, one behind the
        other: copying it would cost as much as rendering it.
        """
        if not len(batch):
            return memoryview(b"")
        heads, groups = _heads(batch), [rows for _, rows in neighbours(batch.households).matrices()]
        power = self._power.rows(batch.power_dw, heads, groups)
        if not batch.temperature_cc.size:
            return power
        return memoryview(b"".join((power, self._temperature.rows(batch.temperature_cc, heads, groups))))


class _Decimals:
    """All numbers lowest..highest with so many decimal `digits`, by their scaled integers, as texts of one width.

    Each begins with `before`.
    """

    def __init__(self, before: bytes, lowest: int, highest: int, digits: int) -> None:
        scale = 10**digits
        self._lowest = lowest * scale
        width = max(len(b"%.*f" % (digits, number)) for number in (lowest, highest))
        numbers = range(self._lowest, highest * scale + 1)
        self._texts = _opaque(np.array([before + b"%0*.*f" % (width, digits, n / scale) for n in numbers]))

    def of(self, scaled: NDArray[np.int32]) -> Fields:
        """The texts of `scaled` numbers; raises IndexError for one that is not in the table."""
        # Unsigned, what is below the lowest is far beyond the end instead of counting from there.
        texts: Fields = self._texts[(scaled - self._lowest).view(np.uint32)]
        return texts


class _Kind:
    """One metric. after: the other metric's columns, empty, where they come behind its own."""

    def __init__(self, decimals: _Decimals, after: bytes) -> None:
        self._decimals, self._after = decimals, after

    def rows(self, values: NDArray[np.int32], heads: Fields, groups: list[NDArray[np.intp]]) -> memoryview:
        """One row per value that is not missing. values[i], heads[i] are of message i; groups: see `Neighbours`."""
        columns = order.columns(values.shape[1])
        values = values[:, columns]
        measured = values != MISSING
        complete = bool(measured.all())
        texts = self._decimals.of(values if complete else np.where(measured, values, 0))
        tails = _opaque(np.array([self._tail(column + 1) for column in columns.tolist()], np.bytes_))
        rows = np.empty(values.size, [("head", heads.dtype), ("value", texts.dtype), ("tail", tails.dtype)])
        there = np.empty(values.size, np.bool_)
        first = 0
        for messages in groups:
            households, repeats = messages.shape
            these = slice(first, first := first + messages.size * len(columns))
            part = rows[these].reshape(households, len(columns), repeats)
            part["head"] = heads[messages][:, None, :]
            part["value"] = texts[messages].transpose(0, 2, 1)
            part["tail"] = tails[None, :, None]
            if not complete:
                there[these] = measured[messages].transpose(0, 2, 1).reshape(-1)
        return (rows if complete else rows[there]).view(np.uint8).data

    def _tail(self, number: int) -> bytes:
        return b",%d%s" % (number, self._after) + (b"\r\n" if number < 10 else b"\n")


def _heads(batch: PowerBatch) -> Fields:
    """What every row of a message begins with: its time and household, all of one width."""
    lengths = np.strings.str_len(batch.households)
    longest = int(lengths.max())
    times, which = np.unique(batch.interval_start_ms, return_inverse=True)
    heads = np.empty(len(batch), f"S{_TIME_DIGITS + longest + 2}")
    for length in np.unique(lengths).tolist():
        digits = _TIME_DIGITS + longest - length
        texts = np.array([b"%0*d," % (digits, time) for time in times.tolist()])
        rows = np.flatnonzero(lengths == length)
        parts = np.empty(len(rows), [("time", texts.dtype), ("household", f"S{length}"), ("comma", "S1")])
        parts["time"], parts["household"], parts["comma"] = texts[which[rows]], batch.households[rows], b","
        heads[rows] = parts.view(heads.dtype)
    return _opaque(heads)


def _opaque(texts: NDArray[np.bytes_]) -> Fields:
    if texts.itemsize == np.dtype(np.uint64).itemsize:
        return texts.view(np.uint64)
    opaque: Fields = texts.view(f"V{texts.itemsize}")
    return opaque
