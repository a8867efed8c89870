"""Readings as Prometheus text, written by numpy: a matrix of characters with one fixed-width row per sample.

The format allows spaces between its parts, so every row has room for the longest household id, number and time, and
shorter ones are padded. Numbers are looked up in a table of all plausible ones that was written out once; so what is
stored is exactly what was measured, and rendering costs the same for every value. All formats cost the store the same
(0.7 to 0.8 CPU-s per million samples: that is storage, not parsing), and unlike CSV this one never drops a row in
silence for a missing column.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants import series
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer.checks import MAX_TEMPERATURE_C, MIN_TEMPERATURE_C

Characters = NDArray[np.uint8]

_ID_WIDTH = 28  # 27 characters and the quote
_TIME_WIDTH = 14  # until the year 5138
_SPACE = ord(" ")


class Renderer:
    """Writes batches whose values passed the checks; a value beyond `max_power_w` has no entry in its table."""

    def __init__(self, max_power_w: int) -> None:
        self._power = _Kind(series.POWER, "socket", _Decimals.between(-max_power_w, max_power_w, 1))
        temperatures = _Decimals.between(int(MIN_TEMPERATURE_C), int(MAX_TEMPERATURE_C), 2)
        self._temperature = _Kind(series.TEMPERATURE, "thermometer", temperatures)

    def render(self, batch: PowerBatch) -> bytes:
        """All samples of `batch`, one line each; missing readings have no line."""
        households, times = _households(batch), _times(batch)
        power = self._power.lines(batch.power_dw, households, times)
        return power + self._temperature.lines(batch.temperature_cc, households, times)


@dataclass(frozen=True, slots=True)
class _Decimals:
    """All numbers lowest..lowest + len(texts) - 1, divided by a power of ten, as fixed-width text."""

    lowest: int
    texts: Characters

    @classmethod
    def between(cls, lowest: int, highest: int, digits: int) -> "_Decimals":
        """Every number of so many decimal `digits` from `lowest` to `highest`."""
        scale = 10**digits
        texts = [b"%.*f" % (digits, n / scale) for n in range(lowest * scale, highest * scale + 1)]
        return cls(lowest * scale, _padded(np.array(texts, np.bytes_)))

    def of(self, scaled: NDArray[np.int32]) -> Characters:
        """The texts of `scaled` numbers; raises IndexError for one that is not in the table."""
        return self.texts[scaled - self.lowest]


class _Kind:
    """One metric: its line with blanks where household, value and time go."""

    def __init__(self, metric: str, label: str, decimals: _Decimals) -> None:
        self._decimals = decimals
        self._metric, self._label = metric, label
        self._id_at = len(metric) + len('{household="')
        value_width = decimals.texts.shape[1]
        self._value_at = len(self._template(1)) - 2 - _TIME_WIDTH - value_width
        self._time_at = self._value_at + value_width + 1

    def _template(self, number: int) -> bytes:
        number_quoted = f'{number}"'.ljust(len('64"'))
        labels = f'{{household="{" " * _ID_WIDTH},{self._label}="{number_quoted}}}'
        value = " " * self._decimals.texts.shape[1]
        return f"{self._metric}{labels} {value} {' ' * _TIME_WIDTH}\n".encode()

    def lines(self, values: NDArray[np.int32], households: Characters, times: Characters) -> bytes:
        """One line per value that is not missing. Row i of all arguments belongs to message i."""
        messages, columns = values.shape
        if not columns:
            return b""
        templates = b"".join(self._template(column + 1) for column in range(columns))
        rows = np.tile(np.frombuffer(templates, np.uint8).reshape(columns, -1), (messages, 1, 1))
        measured = values != MISSING
        _write(rows, self._id_at, households[:, None])
        _write(rows, self._value_at, self._decimals.of(np.where(measured, values, 0)))
        _write(rows, self._time_at, times[:, None])
        return (rows if measured.all() else rows[measured]).tobytes()


def _write(rows: Characters, at: int, texts: Characters) -> None:
    rows[:, :, at : at + texts.shape[-1]] = texts


def _households(batch: PowerBatch) -> Characters:
    return _padded(np.strings.add(batch.households, b'"').astype(f"S{_ID_WIDTH}"))


def _times(batch: PowerBatch) -> Characters:
    """Times as text. A batch holds few different ones, and numpy is slow at writing numbers out."""
    times, which = np.unique(batch.interval_start_ms, return_inverse=True)
    return _padded(times.astype(f"S{_TIME_WIDTH}"))[which]


def _padded(texts: NDArray[np.bytes_]) -> Characters:
    """Texts as a matrix of characters, filled up with spaces."""
    characters = texts.view(np.uint8).reshape(len(texts), texts.itemsize)
    return np.where(characters == 0, np.uint8(_SPACE), characters)
