"""A connection to NATS that takes and sends small messages by the thousand.

nats-py connects, proves who it is, pings and reconnects. What it does per message is replaced for one subscription:
what arrives in one read is cut at its line ends at once, and only sizes decide where a message ends, so that no payload
is ever taken for protocol. Everything else (PING, errors, other subscriptions) goes on to `SizedParser`, whole.

CPU per message of 138 bytes, reading included, on a busy machine, least to most of four runs each: nats-py 2.16 with a
callback 12.3 to 15.0 us, natsrpy 0.1.4 (Rust; it awaits each message by itself) 125 to 128 us, this 1.9 to 3.3 us.
Cutting alone: at line ends, as here, 0.88 us; looking for each line end in turn 1.05 us; by regular expression 1.25 us.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import nats.errors
from nats.aio.subscription import Subscription

from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.adapters.server_stream import CRLF, StreamParser
from wattfleet_tenants.ports import Unavailable

logger = logging.getLogger(__name__)

MEASUREMENTS_EVERY_S = 0.03
"""For a connection on which thousands of homes send: see `read_every_s`. Beside a busy store on two cores, 33,333
messages/s cost the ingest and the broker a tenth less CPU so: 0.66 (0.65-0.68) CPU-s per million samples instead of
0.74 (0.68-0.78), three runs each in turn."""
_MOST_UNSENT_BYTES = 4 * 2**20
"""Answers to 50,000 messages; whoever has more waits until the server has taken some."""
_LOOK_AGAIN_S = 0.1


@dataclass(slots=True)
class Received:
    """Messages as they came: subjects[i], replies[i] (empty without one) and payloads[i] belong together."""

    subjects: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.payloads)


class BulkConnection(NatsConnection):
    """Connect with `connect_to`, then take from one subject. read_every_s: as `WideTransport` has it."""

    def __init__(self, read_every_s: float = 0.0) -> None:
        super().__init__(read_every_s)
        self._bulk = BulkParser(self._sized)
        self._ps = self._bulk  # type: ignore[assignment]  # all that nats-py asks of its parser
        self._subscription: Subscription | None = None
        self._refused = ""

    async def take_from(self, subject: str, queue: str, take: Callable[[Received], None]) -> None:
        """Hands what arrives on `subject` to `take`, as much at a time as one read brings; `take` must not raise.

        Returns when the server has the subscription, which then outlives lost connections; raises Unavailable.
        """
        self.require_connected()
        self._refused = ""
        self._bulk.listen(self._sid + 1, take)
        self._subscription = await self.subscribe(subject, queue=queue)
        try:
            await self.flush()
            if self._refused:
                raise Unavailable(self._refused)
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"the subscription is not confirmed: {describe(error)}") from error
        finally:
            if self._refused or not self.is_connected:
                await self.stop_taking()

    async def stop_taking(self) -> None:
        """Ends the subscription. What the server has sent by then is handed over before this returns, if it can be."""
        if self._subscription is None or self.is_closed:
            return
        with suppress(OSError, nats.errors.Error):
            await self._subscription.unsubscribe()
            await self.flush()
        self._subscription = None

    def send_now(self, commands: bytes) -> bool:
        """Sends protocol lines (`PUB …`) as they are; False, and nothing is sent, while the server is away or slow."""
        if not self.is_connected or self._pending_data_size > _MOST_UNSENT_BYTES or self._flush_queue is None:
            return False
        self._pending.append(commands)
        self._pending_data_size += len(commands)
        with suppress(asyncio.QueueFull):  # so many flushes are asked for already that one more changes nothing
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())
        return True

    async def send(self, commands: bytes) -> None:
        """The same, but waits for as long as the server is away or slow. Gives up when the connection is closed."""
        while not self.send_now(commands) and not self.is_closed:
            if self.is_connected:
                await self._flush_pending(force_flush=True)
            else:
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _log_error(self, error: Exception) -> None:
        await super()._log_error(error)
        if "permissions violation for subscription" in str(error).lower():
            self._refused = describe(error)


class BulkParser(StreamParser):
    """Takes one subscription's messages, which are small, out of the stream; `others` parses the rest."""

    def __init__(self, others: StreamParser) -> None:
        self._others = others
        self._sid = b""
        self._take: Callable[[Received], None] = _nobody
        self._received = Received()
        super().__init__()

    def listen(self, sid: int, take: Callable[[Received], None]) -> None:
        """Takes the messages of subscription `sid` out of the stream from now on."""
        self._sid, self._take = b"%d" % sid, take

    def reset(self) -> None:
        """Forgets what did not arrive as a whole."""
        super().reset()
        self._others.reset()

    async def _take_whole(self, stream: bytes) -> bytes:
        parts = stream.split(CRLF)
        at, last = 0, len(parts) - 1
        while at < last:
            at = self._take_run(parts, at)
            after = await self._take_one(parts, at) if at < last else at
            if after == at:
                break
            at = after
        self._hand_over()
        return CRLF.join(parts[at:])

    def _take_run(self, parts: list[bytes], at: int) -> int:
        """Takes messages with a reply subject and without headers, the usual ones, from part `at` on, for as long as
        there are any; returns which part is the first that was not taken."""
        sid, last = self._sid, len(parts) - 1
        subjects, replies, payloads = self._received.subjects, self._received.replies, self._received.payloads
        while at < last:
            try:
                operation, subject, to, reply, size_text = parts[at].split(b" ")
            except ValueError:
                break
            if operation != b"MSG" or to != sid:
                break
            end = at + 1
            payload = parts[end]
            if len(payload) != int(size_text):  # it holds line ends, or has not arrived as a whole
                end = _last_part(parts, end, int(size_text))
                payload = CRLF.join(parts[at + 1 : end + 1])
            if end >= last:
                break
            subjects.append(subject)
            replies.append(reply)
            payloads.append(payload)
            at = end + 1
        return at

    async def _take_one(self, parts: list[bytes], at: int) -> int:
        """Takes whatever begins with part `at`; returns which part is the next, `at` itself if it is not whole."""
        words = parts[at].split(b" ")
        if words[0] not in (b"MSG", b"HMSG"):
            self._hand_over()
            await self._others.parse(parts[at] + CRLF)
            return at + 1
        size = int(words[-1])
        end = _last_part(parts, at + 1, size)
        if end >= len(parts) - 1:
            self._needed_bytes = len(parts[at]) + size + 2 * len(CRLF)
            return at
        payload = CRLF.join(parts[at + 1 : end + 1])
        if words[2] == self._sid:
            headers = 1 if words[0] == b"HMSG" else 0
            self._received.subjects.append(words[1])
            self._received.replies.append(words[3] if len(words) == 5 + headers else b"")
            self._received.payloads.append(payload[int(words[-2]) :] if headers else payload)
        else:
            await self._others.parse(parts[at] + CRLF + payload + CRLF)
        return end + 1

    def _hand_over(self) -> None:
        if self._received.payloads:
            received, self._received = self._received, Received()
            self._take(received)


def _last_part(parts: list[bytes], first: int, size: int) -> int:
    """Which part is the last of a payload of `size` bytes that begins with part `first`; the last of all when it has
    not arrived as a whole. Raises ValueError when no part ends where the payload must."""
    at, length, last = first, len(parts[first]), len(parts) - 1
    while length < size and at < last:
        at += 1
        length += len(CRLF) + len(parts[at])
    if length != size and at < last:
        raise ValueError("a message is longer than it says")
    return at


def _nobody(_: Received) -> None:
    """Takes messages before anybody asked for them: there are none."""
