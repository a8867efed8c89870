"""Messages as InfluxDB's line protocol, twice: as the published design does it, and as fast as it can be done.

*Published*: every message becomes a protobuf object, every reading of it a point object, every point a line.
*Best*: all messages are decoded as one matrix, as our writer does, and written out by numpy into lines of fixed width,
one per message with a field per socket, numbers looked up in a table. InfluxDB takes leading zeros for what they are.
Per message of 30 readings this costs 107 us and 2.9 us.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.wire import batch
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.wire.readings_pb2 import Readings

MEASUREMENT = "power"
MAX_POWER_W = 5_000
"""The most that a line of fixed width has room for; the homes of the benchmarks draw less."""

_TIME_DIGITS = 13
_DECIWATTS = 10


@dataclass(frozen=True, slots=True)
class Point:
    """One reading. at_ms: Unix time."""

    household: str
    socket: int
    power_w: float
    at_ms: int

    def line(self) -> str:
        """The point in line protocol, times in ms."""
        return f"{MEASUREMENT},household={self.household},socket={self.socket} value={self.power_w} {self.at_ms}"


def points(household: str, message: bytes) -> Iterator[Point]:
    """The readings of a message, one point each, missing ones left out."""
    readings = Readings.FromString(message)
    for index, power_dw in enumerate(readings.power_dw):
        if power_dw != MISSING:
            yield Point(household, index + 1, power_dw / _DECIWATTS, readings.interval_start_ms)


def line_by_line(households: Sequence[bytes], messages: Sequence[bytes]) -> bytes:
    """All readings of `messages` as the published design writes them: a line each, with the socket as a tag."""
    sent = zip(households, messages, strict=True)
    lines = [point.line() for household, message in sent for point in points(household.decode(), message)]
    return "\n".join(lines).encode()


class FixedWidthLines:
    """All readings of messages in one go: a line per message, with a field per socket (`s1`, `s2` …)."""

    def __init__(self) -> None:
        most_dw = MAX_POWER_W * _DECIWATTS
        texts = [b"%07.1f" % (value / _DECIWATTS) for value in range(-most_dw, most_dw + 1)]
        self._numbers = np.array(texts, np.bytes_).view(np.uint8).reshape(len(texts), -1)
        self._lowest = -most_dw

    def __call__(self, households: Sequence[bytes], messages: Sequence[bytes]) -> bytes:
        """The lines of `messages`, of which messages[i] was sent by households[i].

        Raises ValueError for what the benchmark's homes never send: a message that is not ours, households with ids of
        different length, and a reading that is missing or beyond `MAX_POWER_W`.
        """
        batches, unreadable = batch.decode(Messages.of(households, messages))
        if unreadable:
            raise ValueError(f"message {unreadable[0].position} is {unreadable[0].reason}")
        return b"".join(self._lines(one) for one in batches)

    def _lines(self, one: batch.PowerBatch) -> bytes:
        if not (np.abs(one.power_dw.astype(np.int64)) <= -self._lowest).all():
            raise ValueError("a reading has no place in a line of fixed width")
        widths = np.strings.str_len(one.households)
        if (widths != widths[0]).any():
            raise ValueError("the households' ids differ in length")
        ids = one.households.view(np.uint8).reshape(len(one), -1)[:, : widths[0]]
        count, sockets = one.power_dw.shape
        number = bytes(self._numbers.shape[1])
        head = f"{MEASUREMENT},household=".encode()
        fields = b",".join(b"s%d=%s" % (socket + 1, number) for socket in range(sockets))
        template = head + bytes(ids.shape[1]) + b" " + fields + b" " + bytes(_TIME_DIGITS) + b"\n"
        rows = np.tile(np.frombuffer(template, np.uint8), (count, 1))
        rows[:, len(head) : len(head) + ids.shape[1]] = ids
        rows[:, _places_of_numbers(template, len(head) + ids.shape[1], sockets, len(number))] = self._numbers[
            one.power_dw - self._lowest
        ].reshape(count, -1)
        rows[:, -1 - _TIME_DIGITS : -1] = _times(one.interval_start_ms)
        return rows.tobytes()


def _places_of_numbers(template: bytes, start: int, sockets: int, width: int) -> NDArray[np.intp]:
    """The columns of all numbers of a line, one after the other."""
    places = []
    for _ in range(sockets):
        start = template.index(b"=", start) + 1
        places.append(np.arange(start, start + width))
    return np.concatenate(places)


def _times(interval_start_ms: NDArray[np.uint64]) -> NDArray[np.uint8]:
    times, which = np.unique(interval_start_ms, return_inverse=True)
    digits = np.strings.zfill(times.astype(f"S{_TIME_DIGITS}"), _TIME_DIGITS)
    written: NDArray[np.uint8] = digits.view(np.uint8).reshape(len(times), -1)[which]
    return written
