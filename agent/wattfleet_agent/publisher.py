"""Sends what waits in the outbox, and takes out what the platform acknowledges.

A minute that has just ended goes first, so that it never queues behind a backlog; then the oldest. Each message is a
request whose reply subject ends in its sequence number, below a random token that nobody else can guess: an
acknowledgement cannot be forged by another household, and a late one still counts. The end of a minute is one moment
for all homes, so each holds its minute back by the phase that the platform gave it.
"""

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.shard import ShardId

from wattfleet_agent import answers, metrics
from wattfleet_agent.backoff import Backoff
from wattfleet_agent.outbox import Outbox, Waiting
from wattfleet_agent.window import Window

logger = logging.getLogger(__name__)

_BACKOFF_BASE_S = 0.25
_BACKOFF_MOST_S = 30.0
_MOST_WHEN_CROWDED_S = 2.0
"""Room comes back within seconds, and asking for it costs one message."""
_CROWDED = (answers.FULL, answers.BUSY)
_SETTLE_AT = 512
_SETTLE_EVERY_S = 0.25
_LOOK_EVERY_S = 1.0
_LOOK_WHEN_IDLE_EVERY_S = 5.0
"""When nothing waited at the last look; a minute that is recorded or due is sent at once all the same."""


class Publisher:
    """Empties the outbox over one connection after the other.

    phase_ms: how long after its end a minute is sent, 0 to 59,999; it may be changed while nothing is served.
    """

    def __init__(
        self, outbox: Outbox, household: HouseholdId, phase_ms: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._outbox = outbox
        self._household = household
        self.phase_ms = phase_ms
        self._clock = clock
        self._backoff = Backoff(_BACKOFF_BASE_S, _BACKOFF_MOST_S)
        self._awake = asyncio.Event()
        self._start_over()

    def _start_over(self) -> None:
        self._window = Window()
        self._stored: dict[int, None] = {}
        self._settled_at_s = 0.0
        self._paused_until_s = 0.0
        self._passed: Waiting | None = None
        self._newest_ms = -1
        self._idle = False

    def look(self) -> None:
        """Something was put into the outbox."""
        self._awake.set()

    async def serve(self, client: Client, shard: ShardId) -> None:
        """Sends over `client` until it is closed (raises nats' errors then) or the task is cancelled."""
        self._start_over()
        replies = f"{subjects.agent_inbox(self._household)}.{secrets.token_hex(12)}"
        await client.subscribe(f"{replies}.*", cb=self._hear)
        subject = subjects.measurements(shard, self._household)
        try:
            while True:
                for message in self._choose():
                    self._window.sent(message.sequence)
                    metrics.PUBLISHED.inc()
                    logger.debug("sent", extra={"household": self._household, "sequence": message.sequence})
                    await client.publish(subject, message.message, reply=f"{replies}.{message.sequence}")
                await self._wait()
                self._settle_now_and_then()
                self._back_off_from("timeout", self._window.give_up_late())
        finally:
            self._settle()

    @property
    def paused(self) -> bool:
        """Whether it waits after a failure."""
        return time.monotonic() < self._paused_until_s

    def refuse_all(self, reason: str) -> None:
        """The server said that it takes nothing from us: what is on its way will not be answered."""
        self._back_off_from(reason, self._window.give_up_all())

    def _choose(self) -> list[Waiting]:
        """What to send now: the newest minute when it was not sent before, then the oldest that wait."""
        self._idle = False
        room = self._window.room
        if not room or self.paused:
            return []
        begun_before_ms = self._now_ms() - INTERVAL_MS - self.phase_ms
        chosen = self._newest(begun_before_ms)
        if len(chosen) == room:
            return chosen
        backlog = self._outbox.waiting(self._passed, begun_before_ms, room - len(chosen))
        self._idle = not backlog and not self._passed
        if backlog:
            self._passed = backlog[-1]
        elif self._passed:
            # The end of the backlog: what has come in behind, or is to be sent again, is found from the beginning.
            self._passed = None
            self._settle()
        return chosen + [m for m in backlog if m not in chosen and self._at_home(m)]

    def _newest(self, begun_before_ms: int) -> list[Waiting]:
        newest = self._outbox.newest(begun_before_ms)
        if not newest or newest.interval_start_ms <= self._newest_ms:
            return []
        self._newest_ms = newest.interval_start_ms
        return [newest] if self._at_home(newest) else []

    def _at_home(self, message: Waiting) -> bool:
        return message.sequence not in self._window and message.sequence not in self._stored

    async def _hear(self, answer: Msg) -> None:
        last = answer.subject.rpartition(".")[2]
        sequence = int(last) if last.isdecimal() else 0
        verdict = answers.verdict(answer.headers, answer.data)
        if verdict == answers.STORED:
            self._stored[sequence] = None
            self._window.acknowledged(sequence)
            self._backoff.reset()
        else:
            self._window.failed(sequence)
            self._back_off_from(verdict, 1)
        self._awake.set()

    def _back_off_from(self, reason: str, messages: int) -> None:
        if not messages:
            return
        metrics.REFUSED.labels(reason).inc(messages)
        self._passed, self._newest_ms = None, -1
        if self.paused:
            return  # the rest of a group that failed together
        wait_s = self._backoff.next_s(_MOST_WHEN_CROWDED_S if reason in _CROWDED else None)
        self._paused_until_s = time.monotonic() + wait_s
        logger.warning("not acknowledged", extra={"household": self._household, "reason": reason, "wait_s": wait_s})

    async def _wait(self) -> None:
        pause_s = self._paused_until_s - time.monotonic()
        look_s = _LOOK_WHEN_IDLE_EVERY_S if self._idle else _LOOK_EVERY_S
        within_s = min(look_s, self._until_due_s(), pause_s if pause_s > 0 else look_s)
        try:
            async with asyncio.timeout(within_s):
                await self._awake.wait()
        except TimeoutError:
            return
        self._awake.clear()

    def _until_due_s(self) -> float:
        """How long until the next minute is due: homes are as evenly spread as their phases, not by when they look."""
        return (INTERVAL_MS - (self._now_ms() - self.phase_ms) % INTERVAL_MS) / 1000

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _settle_now_and_then(self) -> None:
        waited = time.monotonic() - self._settled_at_s > _SETTLE_EVERY_S
        if len(self._stored) >= _SETTLE_AT or waited or not len(self._window):
            self._settle()

    def _settle(self) -> None:
        """Writes down what was acknowledged, many at a time; what a crash forgets is sent again."""
        self._settled_at_s = time.monotonic()
        if not self._stored:
            return
        try:
            settled = self._outbox.acknowledge(self._stored)
        except sqlite3.OperationalError as error:
            logger.error("outbox not written", extra={"error": str(error)})  # noqa: TRY400 (the reason is enough)
            return
        metrics.ACKNOWLEDGED.inc(settled)
        first, last = min(self._stored), max(self._stored)
        logger.info(
            "acknowledged",
            extra={"household": self._household, "sequence": last, "first_sequence": first, "messages": settled},
        )
        self._stored.clear()
