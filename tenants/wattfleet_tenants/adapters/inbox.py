"""A shard's measurement stream as the writer's inbox: pull a batch, acknowledge each message.

Pulling is done on the JetStream protocol directly: one request, then messages arrive until there are enough or a
status ends the pull. nats-py's own `fetch` sets a timer per message, which costs as much as everything else together.
A status is told from a message by its subject alone, because headers are in the publisher's hand.
"""

import asyncio
import json
from collections.abc import Sequence

import nats.errors
from nats.aio.msg import Msg

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.ports import Message, Unavailable
from wattfleet_tenants.shard import ShardId

_GRACE_S = 2.0
_FLUSH_WITHIN_S = 5
_BUFFER_BYTES = 512 * 2**20
_NOTHING_THERE = ("404", "408")
_NO_STREAM_PAUSE_S = 0.5


class JetStreamInbox:
    """The inbox of all writers of a shard: they share one consumer."""

    def __init__(self, connection: NatsConnection, shard: ShardId) -> None:
        stream, consumer = subjects.measurement_stream(shard), subjects.WRITER_CONSUMER
        self._connection = connection
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._replies = ""
        self._pull = _Pull("", 0)
        self._pulls = 0
        self._early: list[Message] = []
        self.waiting = 0

    async def fetch(self, most: int, wait_s: float) -> list[Message]:
        """Up to `most` messages, as many as there are within `wait_s` seconds; raises Unavailable."""
        self._connection.require_connected()
        try:
            await self._listen()
            pull = self._begin(most)
            question = {"batch": most, "expires": int(wait_s * 1e9)}
            await self._connection.publish(self._next, json.dumps(question).encode(), reply=pull.reply)
            await asyncio.wait_for(pull.ended.wait(), wait_s + _GRACE_S)
        except TimeoutError:
            self._connection.require_connected()
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"the inbox cannot be read: {describe(error)}") from error
        return await self._end(pull)

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Lets the broker forget these messages. When it is not heard, they come again; raises Unavailable."""
        self._connection.require_connected()
        try:
            for receipt in receipts:
                await self._connection.publish(receipt)
            await self._connection.flush(_FLUSH_WITHIN_S)
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"the broker does not take acknowledgements: {describe(error)}") from error

    async def _listen(self) -> None:
        if not self._replies:
            replies = self._connection.new_inbox()
            await self._connection.subscribe(
                f"{replies}.*", cb=self._arrive, pending_msgs_limit=2**20, pending_bytes_limit=_BUFFER_BYTES
            )
            self._replies = replies

    def _begin(self, most: int) -> "_Pull":
        self._pulls += 1
        self._pull = _Pull(f"{self._replies}.{self._pulls}", most)
        for message in self._early:
            self._pull.take(message)
        self._early = []
        return self._pull

    async def _end(self, pull: "_Pull") -> list[Message]:
        self._pull = _Pull("", 0)
        if pull.trouble and not pull.messages:
            await asyncio.sleep(_NO_STREAM_PAUSE_S)
            raise Unavailable(f"the inbox cannot be read: {pull.trouble}")
        self.waiting = _waiting(pull.messages[-1].receipt) if pull.messages else 0
        return pull.messages

    async def _arrive(self, delivered: Msg) -> None:
        if delivered.subject.startswith(self._replies):
            if delivered.subject == self._pull.reply:
                self._pull.stop(delivered)
            return
        message = Message(delivered.subject, delivered.data, _position(delivered.reply), delivered.reply)
        if self._pull.reply:
            self._pull.take(message)
        else:
            self._early.append(message)


class _Pull:
    """One request for messages, until there are `most` or the server ends it."""

    def __init__(self, reply: str, most: int) -> None:
        self.reply = reply
        self.messages: list[Message] = []
        self.ended = asyncio.Event()
        self.trouble = ""
        self._most = most

    def take(self, message: Message) -> None:
        self.messages.append(message)
        if len(self.messages) >= self._most:
            self.ended.set()

    def stop(self, status: Msg) -> None:
        headers = status.headers or {}
        code = headers.get("Status", "")
        if code not in _NOTHING_THERE:
            self.trouble = f"{code} {headers.get('Description', 'nobody answers')}"
        self.ended.set()


def _position(receipt: str) -> int:
    """The message's number in the stream: $JS.ACK.<stream>.<consumer>.<deliveries>.<position>.…"""
    return int(receipt.split(".", 6)[5])


def _waiting(receipt: str) -> int:
    return int(receipt.rpartition(".")[2])
