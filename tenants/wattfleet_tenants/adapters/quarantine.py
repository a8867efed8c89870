"""The quarantine as a stream: what was refused is kept with its reason, and counted by household.

A refusal is published under the identity of the refused message, so that a redelivered one is kept once, and only when
the stream confirmed it may its bundle be acknowledged.
"""

import asyncio
from collections.abc import Sequence

import nats.errors
import nats.js.errors

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.answers import Refused
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.ports import RefusedMessage, Unavailable
from wattfleet_tenants.shard import ShardId

KEPT_BYTES = 4096
"""Of an oversized message this much tells what it was."""

REASON, SEQUENCE, SIZE = "Wattfleet-Reason", "Wattfleet-Sequence", "Wattfleet-Size"

_AT_ONCE = 128
_ANSWER_WITHIN_S = 5.0
_FAILURES = (OSError, TimeoutError, nats.errors.Error)


class JetStreamQuarantine:
    """The writer's side: keeps."""

    def __init__(self, connection: NatsConnection, shard: ShardId) -> None:
        self._connection = connection
        self._shard = shard

    async def keep(self, refused: Sequence[RefusedMessage]) -> None:
        """Returns when all are kept, once each however often it is asked; raises Unavailable."""
        for first in range(0, len(refused), _AT_ONCE):
            await asyncio.gather(*[self._keep(one) for one in refused[first : first + _AT_ONCE]])

    async def _keep(self, refused: RefusedMessage) -> None:
        self._connection.require_connected()
        household = refused.household or subjects.UNKNOWN_HOUSEHOLD
        headers = {
            "Nats-Msg-Id": refused.identity,
            REASON: refused.reason,
            SIZE: str(len(refused.payload)),
        }
        if refused.sequence is not None:
            headers[SEQUENCE] = str(refused.sequence)
        try:
            await self._connection.jetstream(timeout=_ANSWER_WITHIN_S).publish(
                subjects.quarantine(self._shard, household, refused.reason),
                refused.payload[:KEPT_BYTES],
                stream=subjects.quarantine_stream(self._shard),
                headers=headers,
            )
        except _FAILURES as error:
            raise Unavailable(f"the quarantine does not take messages: {describe(error)}") from error


class JetStreamRefusals:
    """The reader's side: counts."""

    def __init__(self, connection: NatsConnection, shard: ShardId) -> None:
        self._connection = connection
        self._shard = shard
        self._stream = subjects.quarantine_stream(shard)

    async def refused(self, household: HouseholdId) -> list[Refused]:
        """Per reason, what was refused of `household`; raises Unavailable."""
        self._connection.require_connected()
        mine = subjects.quarantine(self._shard, parse_household_id(household), "*")
        js = self._connection.jetstream(timeout=_ANSWER_WITHIN_S)
        try:
            info = await js.stream_info(self._stream, subjects_filter=mine)
            counts = info.state.subjects or {}
            return [await self._of_reason(subject, count) for subject, count in sorted(counts.items())]
        except _FAILURES as error:
            raise Unavailable(f"the quarantine cannot be read: {describe(error)}") from error

    async def _of_reason(self, subject: str, count: int) -> Refused:
        last = await self._connection.jetstream().get_last_msg(self._stream, subject, direct=True)
        if last.time is None:
            raise Unavailable("the quarantine does not say when it refused a message")
        return Refused(reason=subject.rpartition(".")[2], count=count, last_ms=int(last.time.timestamp() * 1000))
