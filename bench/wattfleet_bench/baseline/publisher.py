"""Messages of all homes into RabbitMQ, persistent and confirmed, at next to no cost to what is measured.

A message is three AMQP frames, made before the clock starts and sent by the hundred, so that the load costs these
designs no more than ours. pika's own classes make the template's frames and the greeting's.
"""

import select
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pika import frame, spec
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.wire import codec

from wattfleet_bench.homes import SOCKETS, Homes, power_dw

EXCHANGE = "homes"
"""Fans out to the queue; the routing key says which home sent."""

_CHANNEL = 1
_PERSISTENT = 2
_CHUNK = 100  # messages sent in one piece
_LOOK_EVERY_S = 0.002
_ANSWER_WITHIN_S = 60
_SEQUENCE_AT, _START_AT, _POWER_AT = 3, 8, 18


class Confirms:
    """Which publications RabbitMQ has not confirmed yet, from the answers that it sends."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._lowest = 1
        self._published = 0
        self._buffer = b""

    def __len__(self) -> int:
        return len(self._open)

    def published(self, count: int) -> None:
        """`count` more were sent."""
        self._open.update(range(self._published + 1, self._published + count + 1))
        self._published += count

    def received(self, data: bytes) -> None:
        """Takes the next bytes from the server. Raises ConnectionError for any answer that is not a confirmation."""
        self._buffer += data
        while True:
            consumed, answer = frame.decode_frame(self._buffer)
            if answer is None:
                return
            self._buffer = self._buffer[consumed:]
            self._take(answer.method if isinstance(answer, frame.Method) else answer)

    def _take(self, answer: Any) -> None:
        if not isinstance(answer, spec.Basic.Ack):
            raise ConnectionError(f"RabbitMQ answers {answer}")
        if answer.multiple:
            self._open.difference_update(range(self._lowest, answer.delivery_tag + 1))
            self._lowest = answer.delivery_tag + 1
        else:
            self._open.discard(answer.delivery_tag)


class Publisher:
    """One connection that sends whole minutes of `homes`; what it sends is made before the clock starts."""

    def __init__(self, port: int, homes: Homes) -> None:
        self._frames = Frames(homes)
        self._homes = homes
        self._pieces: list[tuple[int, bytes]] = []
        self._confirms = Confirms()
        self._socket = socket.create_connection(("127.0.0.1", port))
        _greet(self._socket)

    def prepare(self, minutes: range) -> None:
        """Makes the messages of `minutes`."""
        homes = range(0, self._homes.count, _CHUNK)
        spans = [(first, min(first + _CHUNK, self._homes.count)) for first in homes]
        self._pieces = [
            (last - first, self._frames.of(minute, first, last)) for minute in minutes for first, last in spans
        ]

    def send(self, may_send: Callable[[int], bool]) -> None:
        """Sends them, each piece of `n` messages as soon as `may_send(n)`, and returns when all are confirmed.

        Raises TimeoutError when the server falls silent, ConnectionError when it refuses.
        """
        for count, piece in self._pieces:
            while not may_send(count):
                self._read(_LOOK_EVERY_S)
            self._confirms.published(count)
            self._socket.sendall(piece)
            self._read(0)
        while len(self._confirms):
            if not self._read(_ANSWER_WITHIN_S):
                raise TimeoutError(f"{len(self._confirms)} messages are not confirmed")

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return False
        self._confirms.received(_received(self._socket))
        return True


class Frames:
    """The frames that carry the messages of `homes`: a row for each home, in which a minute is written anew."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._numbers = np.arange(homes.count, dtype=np.uint32)
        ids = homes.ids()
        message = codec.encode(HomeReadings(1, INTERVAL_MS, (0.0,) * SOCKETS))
        method = spec.Basic.Publish(exchange=EXCHANGE, routing_key=ids[0].decode())
        properties = spec.BasicProperties(delivery_mode=_PERSISTENT)
        head = frame.Method(_CHANNEL, method).marshal() + frame.Header(_CHANNEL, len(message), properties).marshal()
        body = frame.Body(_CHANNEL, message).marshal()
        self._rows = np.tile(np.frombuffer(head + body, np.uint8), (len(ids), 1))
        self._body_at = len(head) + body.index(message)
        at = head.index(ids[0])
        self._rows[:, at : at + ids.itemsize] = ids.view(np.uint8).reshape(len(ids), -1)

    def of(self, minute: int, first: int, last: int) -> bytes:
        """The messages of `minute` of the homes first..last - 1."""
        rows = self._rows[first:last]
        values = power_dw(self._numbers[first:last], minute)
        self._write(rows, _SEQUENCE_AT, np.frombuffer((minute + 1).to_bytes(4, "little"), np.uint8))
        starts = self._homes.interval_start_ms(minute).to_bytes(8, "little")
        self._write(rows, _START_AT, np.frombuffer(starts, np.uint8))
        self._write(rows, _POWER_AT, values.view(np.uint8).reshape(len(values), -1))
        return rows.tobytes()

    def _write(self, rows: NDArray[np.uint8], at: int, field: NDArray[np.uint8]) -> None:
        start = self._body_at + at
        rows[:, start : start + field.shape[-1]] = field


def _greet(connection: socket.socket) -> None:
    """Opens the connection and a channel on it whose publications are confirmed."""
    connection.sendall(frame.ProtocolHeader().marshal())
    _ask(connection, None, spec.Connection.Start)
    login = spec.Connection.StartOk(client_properties={}, mechanism="PLAIN", response="\0guest\0guest")
    tune = _ask(connection, login, spec.Connection.Tune)
    agreed = spec.Connection.TuneOk(channel_max=tune.channel_max, frame_max=tune.frame_max, heartbeat=0)
    connection.sendall(frame.Method(0, agreed).marshal())
    _ask(connection, spec.Connection.Open(virtual_host="/"), spec.Connection.OpenOk)
    _ask(connection, spec.Channel.Open(), spec.Channel.OpenOk, _CHANNEL)
    _ask(connection, spec.Confirm.Select(), spec.Confirm.SelectOk, _CHANNEL)


def _ask(connection: socket.socket, method: Any, expected: type, channel: int = 0) -> Any:
    if method is not None:
        connection.sendall(frame.Method(channel, method).marshal())
    data, answer = b"", None
    while answer is None:
        data += _received(connection)
        _, answer = frame.decode_frame(data)
    if not isinstance(answer, frame.Method) or not isinstance(answer.method, expected):
        raise ConnectionError(f"RabbitMQ answers {answer} instead of {expected.__name__}")
    return answer.method


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionError("RabbitMQ closed the connection")
    return data
