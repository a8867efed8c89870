"""From RabbitMQ into InfluxDB: messages are acknowledged when the store has answered that it holds their readings.

pika receives, as in the published shape; what happens to a batch of messages is the design's choice.
"""

import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pika
from pika.adapters.blocking_connection import BlockingChannel

from wattfleet_bench.baseline.publisher import EXCHANGE
from wattfleet_bench.baseline.servers import DATABASE

QUEUE = "readings"

_WRITE_WITHIN_S = 60
_IDLE_S = 0.05
_NO_CONTENT = 204

Render = Callable[[Sequence[bytes], Sequence[bytes]], bytes]
"""Lines for InfluxDB, from the households and their messages."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a consumer works: messages in a batch, messages it may hold unacknowledged, and how it acknowledges."""

    batch: int
    prefetch: int
    acknowledges_each: bool


class Store:
    """InfluxDB over one connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WRITE_WITHIN_S)

    def write(self, lines: bytes) -> None:
        """Returns when InfluxDB holds the lines in its log on disk. Raises RuntimeError when it refuses them."""
        self._connection.request("POST", f"/write?db={DATABASE}&precision=ms", lines)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != _NO_CONTENT:
            raise RuntimeError(f"InfluxDB answers {answer.status}: {said[:200]!r}")


class Consumer:
    """One consumer of the queue. acknowledged: told how many messages more it has acknowledged."""

    def __init__(
        self,
        channel: BlockingChannel,
        write: Callable[[bytes], None],
        render: Render,
        habits: Habits,
        acknowledged: Callable[[int], None],
    ) -> None:
        self._channel = channel
        self._channel.basic_qos(prefetch_count=habits.prefetch)
        self._write = write
        self._render = render
        self._habits = habits
        self._acknowledged = acknowledged
        self._tags: list[int] = []
        self._households: list[bytes] = []
        self._messages: list[bytes] = []

    def run(self, is_over: Callable[[], bool]) -> None:
        """Stores batches, full ones or what there is when nothing more comes, until `is_over`."""
        for method, _, message in self._channel.consume(QUEUE, inactivity_timeout=_IDLE_S):
            if method is not None:
                self._tags.append(method.delivery_tag)
                self._households.append(method.routing_key.encode())
                self._messages.append(message)
            if len(self._tags) >= self._habits.batch or (method is None and self._tags):
                self._finish()
            if method is None and is_over():
                return

    def _finish(self) -> None:
        self._write(self._render(self._households, self._messages))
        if self._habits.acknowledges_each:
            for tag in self._tags:
                self._channel.basic_ack(tag)
        else:
            self._channel.basic_ack(self._tags[-1], multiple=True)
        self._acknowledged(len(self._tags))
        self._tags, self._households, self._messages = [], [], []


def open_channel(port: int) -> BlockingChannel:
    """A channel on a connection of its own."""
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, heartbeat=0)).channel()


def declare(port: int) -> None:
    """Makes the durable queue and the exchange that all homes' messages come through."""
    channel = open_channel(port)
    channel.exchange_declare(EXCHANGE, "fanout", durable=True)
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_bind(QUEUE, EXCHANGE)
    channel.connection.close()


def queued(port: int) -> int:
    """How many messages are in the queue that no consumer has."""
    channel = open_channel(port)
    count: int = channel.queue_declare(QUEUE, passive=True).method.message_count
    channel.connection.close()
    return count
