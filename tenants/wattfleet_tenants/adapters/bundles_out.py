"""A shard's bundle streams, from the side where bundles go in.

A bundle is published under an id of its own, so that the stream knows it again when it is published a second time
because nobody heard the first answer.
"""

import asyncio
import json
from itertools import count
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.subjects import Lane

_ANSWER_WITHIN_S = 5.0
_NOBODY_LISTENS = "503"
_NO_ROOM = ("maximum bytes exceeded", "maximum messages exceeded")


class StreamFull(Exception):
    """The stream has no room for this bundle now, and did not take it."""


class JetStreamBundles:
    """The streams of a shard's lanes."""

    def __init__(self, connection: NatsConnection, shard: ShardId) -> None:
        self._connection = connection
        self._shard = shard
        self._replies = ""
        self._tokens = count(1)
        self._awaited: dict[str, asyncio.Future[Msg]] = {}
        connection.on_reconnected.append(self._wait_no_longer)

    async def publish(self, lane: Lane, run: str, number: int, payload: bytes) -> int:
        """Returns when the bundle is in the stream: its position there.

        Raises StreamFull, or Unavailable when it is not known, or not yet true, that the stream has it.
        """
        self._connection.require_connected()
        headers = {
            "Nats-Msg-Id": f"{run}.{lane}.{number}",
            "Nats-Expected-Stream": subjects.bundle_stream(self._shard, lane),
        }
        reply = ""
        try:
            reply = await self._new_reply()
            answered = self._awaited[reply] = asyncio.get_running_loop().create_future()
            subject = subjects.bundles(self._shard, lane, run)
            await self._connection.publish(subject, payload, reply=reply, headers=headers)
            answer = await asyncio.wait_for(answered, _ANSWER_WITHIN_S)
        except TimeoutError as error:
            raise Unavailable("the stream does not answer") from error
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"the stream cannot be asked: {describe(error)}") from error
        finally:
            self._awaited.pop(reply, None)
        return _position(answer, headers["Nats-Expected-Stream"])

    async def first_position(self, lane: Lane) -> int:
        """The position of the oldest bundle that is not settled, one past the last when all are. Raises Unavailable."""
        self._connection.require_connected()
        try:
            info = await self._connection.jetstream().stream_info(subjects.bundle_stream(self._shard, lane))
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"the stream of lane {lane} is not seen: {describe(error)}") from error
        return info.state.first_seq

    async def _new_reply(self) -> str:
        if not self._replies:
            replies = self._connection.new_inbox()
            await self._connection.subscribe(f"{replies}.*", cb=self._take_answer)
            self._replies = replies
        return f"{self._replies}.{next(self._tokens)}"

    async def _take_answer(self, answer: Msg) -> None:
        answered = self._awaited.get(answer.subject)
        if answered and not answered.done():
            answered.set_result(answer)

    def _wait_no_longer(self) -> None:
        """Answers to what was published before the connection was lost will never come."""
        for answered in self._awaited.values():
            if not answered.done():
                answered.set_exception(Unavailable("the connection was lost before the stream answered"))


def _position(answer: Msg, stream: str) -> int:
    if answer.headers and answer.headers.get("Status") == _NOBODY_LISTENS:
        raise Unavailable(f"there is no stream {stream}")
    try:
        told: dict[str, Any] = json.loads(answer.data)
        if not told.get("error") and told["stream"] == stream:
            return int(told["seq"])
        reason = str(told["error"]["description"]) if told.get("error") else f"it is in stream {told['stream']}"
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unavailable(f"the stream's answer is not understood: {answer.data[:200]!r}") from error
    if reason in _NO_ROOM:
        raise StreamFull(reason)
    raise Unavailable(f"the stream did not take it: {reason}")
