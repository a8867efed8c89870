"""One lane of a writer: what is fetched is sorted at once, waits for its turn, and is stored portion by portion.

Fetching goes on while the store is busy, and while one portion is stored the next one is written.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from wattfleet_tenants.ports import Delivery, Inbox, StoreRun
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.arrived import Arrived
from wattfleet_tenants.writer.belonging import Belonging, SomebodyLeftError
from wattfleet_tenants.writer.in_hand import InHand
from wattfleet_tenants.writer.insertion import Insertion
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.reception import Reception
from wattfleet_tenants.writer.sweep import Portion, Sweep

logger = logging.getLogger(__name__)

GATHER_S = {Lane.LIVE: 1.0, Lane.BACKLOG: 0.15}
"""How long one fetch waits for more."""
GATHER_FOR_MUCH_S = 0.4
"""The same where visits find much: nobody waits for it then, and a fetch costs the writer less a message."""
ROUND_S = {Lane.LIVE: 0.0, Lane.BACKLOG: 2.0}
"""A round of much that waits takes so long, if it takes that to find some at each visit. The first one begins half a
round late: so its visits find some too, and are no rows, which cost the store twice as much."""
FOUND_AT_A_VISIT = 32
"""Messages. Where there are so many, more would save the store little, and no portion waits for them."""
_PORTIONS_AT_ONCE = 2
_LOOK_EVERY_S = 0.1


class Holding(Protocol):
    """What the store has, until it may be acknowledged."""

    @property
    def store_run(self) -> StoreRun:
        """The store's run as it is known now."""
        ...

    def hold(self, arrived: Arrived) -> None:
        """Nothing of `arrived` is left to do."""
        ...


class LaneWork:
    """`run` it until it is told to `stop`."""

    def __init__(
        self,
        lane: Lane,
        inbox: Inbox,
        reception: Reception,
        insertion: Insertion,
        persistence: Persistence,
        holding: Holding,
    ) -> None:
        self._lane = lane
        self._inbox = inbox
        self._reception = reception
        self._insertion = insertion
        self._persistence = persistence
        self._holding = holding
        self._in_hand = InHand(lane)
        self._sweep = Sweep()
        self._round, self._round_began_s = -1, 0.0
        self._goes_round = False
        self._finds_much = False
        self._more_comes = False
        self._room = asyncio.Event()
        self._something = asyncio.Event()
        self._stopping = False

    @property
    def receipts(self) -> list[str]:
        """Of what is fetched and not yet stored."""
        return self._in_hand.receipts

    async def run(self) -> None:
        """Works until `stop`, and then until what is begun is done. Raises whatever a bug raises."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._gather())
                group.create_task(self._store_portions(group))
        except ExceptionGroup as bugs:
            raise bugs.exceptions[0] from None

    def stop(self) -> None:
        """Nothing more is fetched, and no portion is begun."""
        self._stopping = True
        self._room.set()
        self._something.set()

    async def _gather(self) -> None:
        """Fetches what there is by and by, as much as may be in hand."""
        while not self._stopping:
            if not self._in_hand.room_bytes:
                self._room.clear()
                await self._room.wait()
                continue
            fetched = await self._persistence.until_done("inbox", self._fetch)
            self._more_comes = bool(fetched)
            await self._take_in(fetched)

    async def _fetch(self) -> list[Delivery]:
        wait_s = max(GATHER_S[self._lane], GATHER_FOR_MUCH_S if self._finds_much else 0.0)
        fetched = await self._inbox.fetch(self._in_hand.room_bytes, wait_s)
        metrics.WAITING.labels(self._lane).set(self._inbox.waiting)
        return fetched

    async def _take_in(self, fetched: Sequence[Delivery]) -> None:
        if not fetched:
            return
        self._in_hand.take(fetched)
        arrived = await self._reception.sort(self._lane, fetched)
        self._sweep.add(arrived)
        self._something.set()
        if arrived.refused:
            arrived.given_up = not await self._reception.refuse(arrived)
            arrived.refused = []
        self._count_down(arrived, 1)

    async def _store_portions(self, group: asyncio.TaskGroup) -> None:
        free = asyncio.Semaphore(_PORTIONS_AT_ONCE)
        while await self._anything_waits():
            await free.acquire()
            await self._turn()
            if not self._stopping:
                group.create_task(self._store(self._sweep.take())).add_done_callback(lambda _: free.release())

    async def _anything_waits(self) -> bool:
        """When something does; False once the lane stops."""
        while not self._sweep and not self._stopping:
            self._goes_round = False
            self._something.clear()
            await self._something.wait()
        return not self._stopping

    async def _turn(self) -> None:
        """When the next portion may begin, given how long a round shall take."""
        if self._round != self._sweep.rounds:
            self._round, self._round_began_s = self._sweep.rounds, self._next_round_begins_s()
            self._finds_much = self._sweep.waits_for_a_round and not self._finds_little()
            self._in_hand.learn()
            self._room.set()
        due_s = self._round_began_s + self._sweep.share_done * ROUND_S[self._lane]
        while (left_s := due_s - time.monotonic()) > 0:
            if not self._waiting_pays():
                break
            await asyncio.sleep(min(left_s, _LOOK_EVERY_S))
        self._goes_round = self._sweep.waits_for_a_round

    def _waiting_pays(self) -> bool:
        """Whether the next portion's visits would find more later, and find little now."""
        if self._stopping or not self._more_comes or not self._in_hand.room_bytes:
            return False
        return self._sweep.waits_for_a_round and self._finds_little()

    def _finds_little(self) -> bool:
        return self._sweep.messages_a_visit < FOUND_AT_A_VISIT

    def _next_round_begins_s(self) -> float:
        round_s, now_s = ROUND_S[self._lane], time.monotonic()
        if self._goes_round:
            return max(now_s, min(now_s, self._round_began_s) + round_s)
        return now_s + round_s / 2

    async def _store(self, portion: Portion) -> None:
        began_s = time.monotonic()
        run = self._holding.store_run
        for arrived, _ in portion.messages:
            arrived.run = arrived.run or run
        messages = sum(count for _, count in portion.messages)
        extra = {"lane": self._lane, "messages": messages}
        try:
            samples = await self._insert(portion)
        except* SomebodyLeftError:
            metrics.GIVEN_UP.inc(messages)
            for arrived, _ in portion.messages:
                arrived.given_up = True
            logger.warning("left to the broker: a household of theirs was unassigned meanwhile", extra=extra)
        else:
            _follow("handed to the store", portion.batches)
            metrics.PORTION_MESSAGES.observe(messages)
            seconds = round(time.monotonic() - began_s, 4)
            logger.info("stored", extra={**extra, "samples": samples, "seconds": seconds})
        for arrived, count in portion.messages:
            self._count_down(arrived, count)

    async def _insert(self, portion: Portion) -> int:
        asked_s = min(arrived.since_s for arrived, _ in portion.messages)
        belonging = Belonging(self._reception, portion.batches, asked_s)
        return await self._insertion.insert(portion.batches, belonging.confirm)

    def _count_down(self, arrived: Arrived, count: int) -> None:
        arrived.left -= count
        if arrived.left:
            return
        took_s = time.monotonic() - arrived.since_s
        self._in_hand.let_go(arrived.receipts, took_s)
        self._room.set()
        if not arrived.given_up:
            metrics.STORED_SECONDS.observe(took_s)
            self._holding.hold(arrived)


def _follow(event: str, batches: Sequence[PowerBatch]) -> None:
    """At DEBUG, one line per message, so that a single reading can be followed through the writer."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    for batch in batches:
        for household, sequence in zip(batch.households, batch.sequence.tolist(), strict=True):
            logger.debug(event, extra={"household": household.decode(), "sequence": sequence})
