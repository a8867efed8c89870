"""Thousands of messages at once, read field by field.

Agents write their fields in one order with fixed widths, so all messages of one length (and one count of sockets) have
the same layout, and a field is in the same place of all of them. A message that differs in any tag is
still right protobuf perhaps: it is parsed by itself, slower but with the same outcome. So what a home may send is
defined by `codec.parse` alone, and each message costs the same bounded work however odd its neighbours are.

    08 01 | 15 sequence (4) | 19 interval start (8) | 22 length powers (4 each) | 2a length temperatures (4 each)
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from wattfleet_native.fields import read_fields

from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.socket import MAX_SOCKETS
from wattfleet_tenants.wire import codec
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.wire.readings_pb2 import Readings

_SEQUENCE, _INTERVAL_START, _POWER_TAG = 3, 8, 16
_TAGS = {0: 0x08, 1: codec.VERSION, 2: 0x15, 7: 0x19, _POWER_TAG: 0x22}
_TEMPERATURE = 0x2A
_VALUE_BYTES = 4
_ANY = (-(2**31), 2**31 - 1)
# Setting up columns costs as much as parsing about thirty messages one by one.
_WORTH_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class PowerBatch:
    """Messages with equally many values. Row i stands for the message at positions[i] of what was decoded.

    households: HOUSEHOLD_BYTES each. interval_start_ms: Unix time. power_dw[i, j]: deciwatts of socket j + 1;
    temperature_cc[i, j]: hundredths of a °C of thermometer j + 1; `reading.MISSING` where there is no reading. All
    powers, MISSING ones among them, are within power_range_dw.
    """

    positions: NDArray[np.intp]
    households: NDArray[np.bytes_]
    sequence: NDArray[np.uint32]
    interval_start_ms: NDArray[np.uint64]
    power_dw: NDArray[np.int32]
    temperature_cc: NDArray[np.int32]
    power_range_dw: tuple[int, int] = _ANY

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def samples(self) -> int:
        """How many readings are in it; missing ones are none."""
        return int(np.count_nonzero(self.power_dw != MISSING) + np.count_nonzero(self.temperature_cc != MISSING))

    def powers_within(self, lowest_dw: int, highest_dw: int) -> bool:
        """Whether it is known, without a look at each, that all powers are, and none is missing."""
        return lowest_dw <= self.power_range_dw[0] and self.power_range_dw[1] <= highest_dw

    def only(self, rows: NDArray[np.bool_] | slice) -> "PowerBatch":
        """The batch of those rows: marked, or in a slice."""
        return PowerBatch(
            self.positions[rows],
            self.households[rows],
            self.sequence[rows],
            self.interval_start_ms[rows],
            self.power_dw[rows],
            self.temperature_cc[rows],
            self.power_range_dw,
        )

    def in_order(self, rows: NDArray[np.intp]) -> "PowerBatch":
        """The batch of the rows with these numbers."""
        return PowerBatch.joined([self], rows)

    @staticmethod
    def joined(batches: Sequence["PowerBatch"], order: NDArray[np.intp]) -> "PowerBatch":
        """All rows of batches with equally many values, counted through, in this order."""
        return PowerBatch(
            np.concatenate([batch.positions for batch in batches]).take(order),
            np.concatenate([batch.households for batch in batches]).take(order),
            np.concatenate([batch.sequence for batch in batches]).take(order),
            np.concatenate([batch.interval_start_ms for batch in batches]).take(order),
            _rows([batch.power_dw for batch in batches], order),
            _rows([batch.temperature_cc for batch in batches], order),
            (min(batch.power_range_dw[0] for batch in batches), max(batch.power_range_dw[1] for batch in batches)),
        )


def _rows(tables: Sequence[NDArray[np.int32]], order: NDArray[np.intp]) -> NDArray[np.int32]:
    """Rows of tables with equally many columns, counted through, in this order: read from where they are."""
    kept = [np.ascontiguousarray(table) for table in tables]
    (row_bytes,) = {table.shape[1] * table.itemsize for table in kept}
    if not row_bytes:
        return np.empty((len(order), 0), np.int32)
    addresses = [table.ctypes.data + np.arange(len(table)) * row_bytes for table in kept]
    at = np.concatenate(addresses).take(order).view(np.uintp)
    return read_fields(at, row_bytes, {}, [(0, row_bytes)]).columns[0].view(np.int32)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The message at `position` is not one of ours, because of `reason`."""

    position: int
    reason: str


def decode(messages: Messages, order: NDArray[np.intp] | None = None) -> tuple[list[PowerBatch], list[Unreadable]]:
    """All of `messages`, each in exactly one batch or unreadable, whatever bytes they are.

    order: all their positions in the order in which a batch shall have them, as far as they have one layout.
    """
    batches: list[PowerBatch] = []
    singles: list[int] = []
    order = np.arange(len(messages)) if order is None else order
    for length, members in _groups(messages.lengths[order]):
        read, others = _read_length(messages, order[members], length)
        batches += read
        singles += others
    parsed, unreadable = _parse_one_by_one(messages, singles)
    return batches + parsed, unreadable


def _read_length(messages: Messages, positions: NDArray[np.intp], length: int) -> tuple[list[PowerBatch], list[int]]:
    """What columns can be made of, of messages of `length` bytes, and the positions of the others.

    Nearly always all have the first one's layout. Only those that have not are looked at for theirs.
    """
    if length <= _POWER_TAG + 2 or len(positions) < _WORTH_COLUMNS:
        return [], positions.tolist()
    batches, others = _read_like_first(messages, positions, length)
    if not len(others):
        return batches, []
    singles: list[int] = []
    for _, rows in _groups(_power_length_bytes(messages, others, length)):
        alike = others[rows]
        if len(alike) >= _WORTH_COLUMNS:
            more, alike = _read_like_first(messages, alike, length)
            batches += more
        singles += alike.tolist()
    return batches, singles


def _groups(keys: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp] | slice]]:
    """Each different key with the positions that have it."""
    if not len(keys):
        return
    if (keys == keys[0]).all():
        yield int(keys[0]), slice(None)
        return
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    for members in np.split(order, ends):
        yield int(keys[members[0]]), members


def _power_length_bytes(messages: Messages, positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """For each, the first byte of the powers' length, and above it the second when there is one."""
    (lengths,) = messages.fields(positions, length, {}, [(_POWER_TAG + 1, 2)]).columns
    first, second = lengths[:, 0].astype(np.intp), lengths[:, 1].astype(np.intp)
    return first | np.where(first > 0x7F, second << 8, 0)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the values are, and which bytes all messages have in which places."""

    sockets: int
    thermometers: int
    power_at: int
    temperature_at: int
    tags: dict[int, int]


def _layout(length: int, first: int, second: int) -> _Layout | None:
    """Where the fields are in messages of `length` bytes whose powers' length is the varint `first`, `second`."""
    if second > 0x7F or (first > 0x7F and not second):
        return None
    power_bytes = (first & 0x7F) | second << 7
    before_powers = _varint(power_bytes)
    power_at = _POWER_TAG + 1 + len(before_powers)
    temperature_bytes = _payload_after_tag(length - power_at - power_bytes)
    if temperature_bytes is None or power_bytes % _VALUE_BYTES or not power_bytes:
        return None
    sockets, thermometers = power_bytes // _VALUE_BYTES, temperature_bytes // _VALUE_BYTES
    if max(sockets, thermometers) > MAX_SOCKETS:
        return None
    temperature_at = length - temperature_bytes
    before = bytes([_TEMPERATURE, *_varint(temperature_bytes)]) if thermometers else b""
    tags = (
        _TAGS | dict(enumerate(before_powers, _POWER_TAG + 1)) | dict(enumerate(before, temperature_at - len(before)))
    )
    return _Layout(sockets, thermometers, power_at, temperature_at, tags)


def _payload_after_tag(rest: int) -> int | None:
    """How many bytes of values a field of `rest` bytes holds behind its tag and length; None when that cannot be."""
    if rest == 0:
        return 0
    for values in (rest - 2, rest - 3):
        if values > 0 and values % _VALUE_BYTES == 0 and 1 + len(_varint(values)) + values == rest:
            return values
    return None


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80, value >> 7])


def _read_like_first(
    messages: Messages, positions: NDArray[np.intp], length: int
) -> tuple[list[PowerBatch], NDArray[np.intp]]:
    """A batch of all messages that have the layout of the first of them, and the positions of those that have not."""
    first, second = messages[int(positions[0])][_POWER_TAG + 1 : _POWER_TAG + 3]
    layout = _layout(length, first, second if first > 0x7F else 0)
    if layout is None:
        return [], positions
    values = [(layout.power_at, layout.sockets), (layout.temperature_at, layout.thermometers)]
    fields = [(_SEQUENCE, 4), (_INTERVAL_START, 8), *((at, _VALUE_BYTES * count) for at, count in values)]
    found = messages.fields(positions, length, layout.tags, fields)
    if not found.ours.any():
        return [], positions
    kept = slice(None) if found.ours.all() else found.ours
    sequences, starts, powers, temperatures = (column[kept] for column in found.columns)
    power_dw = powers.view("<i4")
    batch = PowerBatch(
        positions[kept],
        messages.households.take(positions[kept]),
        sequences.view("<u4").reshape(-1),
        starts.view("<u8").reshape(-1),
        power_dw,
        temperatures.view("<i4") if layout.thermometers else np.empty((len(power_dw), 0), np.int32),
        (int(power_dw.min()), int(power_dw.max())),
    )
    return [batch], positions[~found.ours]


def _parse_one_by_one(messages: Messages, positions: list[int]) -> tuple[list[PowerBatch], list[Unreadable]]:
    shapes: dict[tuple[int, int], list[tuple[int, Readings]]] = defaultdict(list)
    unreadable = []
    for position in positions:
        try:
            readings = codec.parse(messages[position])
        except ValueError as error:
            unreadable.append(Unreadable(position, str(error)))
            continue
        shapes[len(readings.power_dw), len(readings.temperature_cc)].append((position, readings))
    return [_batch_of(messages.households, parsed) for parsed in shapes.values()], unreadable


def _batch_of(senders: NDArray[np.bytes_], parsed: list[tuple[int, Readings]]) -> PowerBatch:
    positions = np.array([position for position, _ in parsed], np.intp)
    return PowerBatch(
        positions,
        senders[positions],
        np.array([readings.sequence for _, readings in parsed], np.uint32),
        np.array([readings.interval_start_ms for _, readings in parsed], np.uint64),
        np.array([readings.power_dw for _, readings in parsed], np.int32).reshape(len(parsed), -1),
        np.array([readings.temperature_cc for _, readings in parsed], np.int32).reshape(len(parsed), -1),
    )
