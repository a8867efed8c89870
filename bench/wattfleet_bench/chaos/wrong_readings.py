"""Readings that are wrong on purpose: each must be acknowledged, refused by the writer, and kept with its reason.

One home of the shard and one that the shard does not carry send them, all the time and again until they are answered.
So one that was answered late is sent twice, and may be refused twice. The quarantine keeps the last 100 of a home and
reason, so a long run stops sending them before that.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import nats.errors
from nats.js.errors import NotFoundError
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.jetstream import QUARANTINED_PER_REASON
from wattfleet_tenants.adapters.quarantine import REASON
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings, interval_start
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.wire import codec
from wattfleet_tenants.wire.receipts import ACKNOWLEDGED
from wattfleet_tenants.writer.checks import FOREIGN

_EVERY_S = 2.0
_ANSWERED_WITHIN_S = 3.0
_AGAIN_AFTER_S = 0.3
_HOUR_MS = 3_600_000
_MOST_OF_A_KIND = QUARANTINED_PER_REASON * 4 // 5
_NO_HOME_DRAWS_W = 90_000.0
_FAILURES = (OSError, TimeoutError, nats.errors.Error)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A message and the reason for which it must be refused."""

    household: HouseholdId
    reason: str
    payload: bytes


class WrongHomes:
    """sent: what was acknowledged so far, each once."""

    def __init__(self, broker: ShardBroker) -> None:
        self.household, self._stranger = mint_household_id(), mint_household_id()
        self.sent: list[Wrong] = []
        self._broker = broker
        self._credentials = {one: broker.household_credentials(one) for one in (self.household, self._stranger)}

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends one after the other until `stopping` is set and the last one is acknowledged, or there are no more."""
        for wrong in _wrong_readings(self.household, self._stranger):
            await self._send(wrong)
            self.sent.append(wrong)
            try:
                await asyncio.wait_for(stopping.wait(), _EVERY_S)
            except TimeoutError:
                continue
            return

    async def _send(self, wrong: Wrong) -> None:
        while not await self._acknowledged(wrong):  # noqa: ASYNC110 (nobody tells when it would be)
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _acknowledged(self, wrong: Wrong) -> bool:
        inbox = subjects.agent_inbox(wrong.household)
        subject = subjects.measurements(self._broker.shard, wrong.household)
        try:
            async with self._broker.connection(self._credentials[wrong.household], inbox) as client:
                answer = await client.request(subject, wrong.payload, timeout=_ANSWERED_WITHIN_S)
        except _FAILURES:
            return False
        return answer.data == ACKNOWLEDGED


def _wrong_readings(household: HouseholdId, stranger: HouseholdId) -> Iterator[Wrong]:
    makers: Sequence[tuple[HouseholdId, str, Callable[[int, int], bytes]]] = (
        (household, "malformed", lambda number, _: b"\x12\xff%d" % number),
        (household, "implausible-power", lambda number, at_ms: _message(number, at_ms, power_w=_NO_HOME_DRAWS_W)),
        (household, "future", lambda number, at_ms: _message(number, at_ms + _HOUR_MS)),
        (household, "unaligned", lambda number, at_ms: _message(number, at_ms + 1)),
        (stranger, FOREIGN, _message),
    )
    for number in range(len(makers) * _MOST_OF_A_KIND):
        sender, reason, make = makers[number % len(makers)]
        at_ms = interval_start(int(time.time() * 1000)) - INTERVAL_MS
        yield Wrong(sender, reason, make(number, at_ms))


def _message(number: int, at_ms: int, power_w: float = 1.0) -> bytes:
    return codec.encode(HomeReadings(number + 1, at_ms, (power_w,)))


async def in_quarantine(broker: ShardBroker) -> list[Wrong]:
    """What lies in the shard's quarantine."""
    found = []
    async with broker.operator() as client:
        js, stream = client.jetstream(), subjects.quarantine_stream(broker.shard)
        state = (await js.stream_info(stream)).state
        for position in range(max(1, state.first_seq), state.last_seq + 1):
            try:
                kept = await js.get_msg(stream, position, direct=True)
            except NotFoundError:
                continue
            household = HouseholdId((kept.subject or "").split(".")[2])
            found.append(Wrong(household, (kept.headers or {})[REASON], kept.data or b""))
    return found


def differences(sent: Sequence[Wrong], kept: Sequence[Wrong]) -> list[str]:
    """What is not as it should be: each of `sent` is among `kept`, and nothing else is."""
    missing, more = set(sent) - set(kept), set(kept) - set(sent)
    return [
        *(f"not in quarantine: {one}" for one in sorted(missing, key=str)),
        *(f"in quarantine although it was not wrong: {one}" for one in sorted(more, key=str)),
    ]
