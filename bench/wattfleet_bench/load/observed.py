"""A connection that notes when the agent sends and when it is answered, and changes nothing of it.

The agent's publisher works over it as over its own connection. An acknowledgement's latency is counted from the first
sending of a message until the platform says that it holds it, refusals and repeats in between included.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

from nats.aio.client import Client
from nats.aio.msg import Msg
from wattfleet_tenants.wire.receipts import ACKNOWLEDGED

from wattfleet_bench.load.tally import Latencies

Hear = Callable[[Msg], Awaitable[None]]


class Observations:
    """What all agents of a process did over their connections. sent_by_second: by Unix time in s."""

    def __init__(self) -> None:
        self.connected = 0
        self.sent_by_second: Counter[int] = Counter()
        self.latencies = Latencies()


class ObservedClient:
    """`client`, observed. first_sent_s: when each message that is not acknowledged left first; kept by its agent."""

    def __init__(self, client: Client, observations: Observations, first_sent_s: dict[str, float]) -> None:
        self._client = client
        self._observations = observations
        self._first_sent_s = first_sent_s

    def as_client(self) -> Client:
        """For those who ask for a client by its type."""
        return cast(Client, self)

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Publishes; `reply` ends in the message's number."""
        self._observations.sent_by_second[int(time.time())] += 1
        self._first_sent_s.setdefault(_number(reply), time.monotonic())
        await self._client.publish(subject, payload, reply=reply)

    async def subscribe(self, subject: str, *, cb: Hear) -> Any:
        """Subscribes; `cb` hears every answer once it is noted."""

        async def hear(answer: Msg) -> None:
            sent_s = self._first_sent_s.pop(_number(answer.subject), None) if answer.data == ACKNOWLEDGED else None
            if sent_s is not None:
                self._observations.latencies.add(time.monotonic() - sent_s)
            await cb(answer)

        return await self._client.subscribe(subject, cb=hear)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def _number(subject: str) -> str:
    return subject.rpartition(".")[2]
