"""A lane's stream as the writer's inbox: pull some megabytes of bundles, acknowledge each.

Pulling is done on the JetStream protocol directly: one request, then messages arrive until there are enough or a
status ends the pull; the server counts the bytes. One pull is on its way at a time, so what arrives belongs to it. A
status is told from a bundle by its subject: statuses come to the reply subject of the pull itself.
"""

import asyncio
import json
import logging
from collections.abc import Sequence

import nats.errors

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.adapters.server_stream import RawMessage
from wattfleet_tenants.ports import Delivery, Unavailable
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.wire import bundle

logger = logging.getLogger(__name__)

_MOST_BUNDLES = 4_000
_GRACE_S = 2.0
_FLUSH_WITHIN_S = 5
_NOTHING_MORE = ("404", "408")
_ENOUGH = "message size exceeds maxbytes"
_NO_STREAM_PAUSE_S = 0.5
_GIVE_BACK = b'-NAK {"delay": 1000000000}'


class JetStreamInbox:
    """The inbox of all writers of a shard for one lane: they share one consumer."""

    def __init__(self, connection: NatsConnection, shard: ShardId, lane: subjects.Lane) -> None:
        stream, consumer = subjects.bundle_stream(shard, lane), subjects.WRITER_CONSUMER
        self._connection = connection
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._replies = ""
        self._pull = _Pull("")
        self._pulls = 0
        self._early: list[Delivery] = []
        self.waiting = 0

    async def fetch(self, most_bytes: int, wait_s: float) -> list[Delivery]:
        """As many bundles as there are, up to `most_bytes`, within `wait_s` seconds; raises Unavailable."""
        self._connection.require_connected()
        try:
            await self._listen()
            pull = self._begin()
            question = {"batch": _MOST_BUNDLES, "max_bytes": most_bytes, "expires": int(wait_s * 1e9)}
            await self._connection.publish(self._next, json.dumps(question).encode(), reply=pull.reply)
            async with asyncio.timeout(wait_s + _GRACE_S):
                await pull.ended.wait()
        except TimeoutError:
            self._connection.require_connected()
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"the inbox cannot be read: {describe(error)}") from error
        return await self._end(pull)

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Lets the broker forget these bundles. When it is not heard, they come again; raises Unavailable."""
        await self._tell(receipts, b"")

    async def give_back(self, receipts: Sequence[str]) -> None:
        """Has the broker deliver these bundles again, soon and to any writer; raises Unavailable."""
        await self._tell(receipts, _GIVE_BACK)

    async def _tell(self, receipts: Sequence[str], verdict: bytes) -> None:
        self._connection.require_connected()
        try:
            for receipt in receipts:
                await self._connection.publish(receipt, verdict)
            await self._connection.flush(_FLUSH_WITHIN_S)
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"the broker does not take acknowledgements: {describe(error)}") from error

    async def _listen(self) -> None:
        if not self._replies:
            replies = self._connection.new_inbox()
            await self._connection.listen(f"{replies}.*", self._arrive)
            self._replies = replies

    def _begin(self) -> "_Pull":
        self._pulls += 1
        self._pull = _Pull(f"{self._replies}.{self._pulls}")
        return self._pull

    async def _end(self, pull: "_Pull") -> list[Delivery]:
        self._pull = _Pull("")
        deliveries = self._early + pull.deliveries
        self._early = []
        if pull.trouble and not deliveries:
            await asyncio.sleep(_NO_STREAM_PAUSE_S)
            raise Unavailable(f"the inbox cannot be read: {pull.trouble}")
        self.waiting = _waiting(deliveries[-1].receipt) if deliveries else 0
        return deliveries

    def _arrive(self, delivered: RawMessage) -> None:
        subject = delivered.subject.decode(errors="replace")
        if subject.startswith(self._replies):
            if subject == self._pull.reply:
                self._pull.stop(delivered.headers)
            return
        try:
            delivery = Delivery(bundle.decode(delivered.payload), delivered.reply.decode(), len(delivered.payload))
        except ValueError as error:
            # Left in the stream: a newer writer may know it, and nothing that a home sent is thrown away unread.
            logger.error("bundle not readable", extra={"subject": subject, "error": str(error)})  # noqa: TRY400
            return
        (self._pull.deliveries if self._pull.reply else self._early).append(delivery)


class _Pull:
    """One request for bundles, until the server ends it or has no more."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.deliveries: list[Delivery] = []
        self.ended = asyncio.Event()
        self.trouble = ""

    def stop(self, headers: bytes) -> None:
        """headers: begin with a line that says why, as `NATS/1.0 408 Request Timeout`."""
        line, _, _ = headers.decode(errors="replace").partition("\r\n")
        _, _, reason = line.partition(" ")
        code, _, description = reason.partition(" ")
        description = description or "nobody answers"
        if code not in _NOTHING_MORE and description.lower() != _ENOUGH:
            self.trouble = f"{code} {description}"
        self.ended.set()


def _waiting(receipt: str) -> int:
    return int(receipt.rpartition(".")[2])
