"""The writer: fetch, check, store, and only then acknowledge.

Nothing on the way works per reading in Python. Whatever fails is tried again and nothing is acknowledged meanwhile, so
the broker keeps what a writer could not finish, whether its store was away or it was killed. A writer that stops leaves
what it holds unacknowledged: it comes again to the next one, and storing it twice changes nothing. The two lanes are
worked side by side, so that live readings never wait behind a backlog; see `LaneWork` for what happens in one.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from wattfleet_tenants.ledger import total
from wattfleet_tenants.ports import Assignments, Inbox, Ledger, Quarantine, Store, StoreRun
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.arrived import Arrived
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.held import ACK_AFTER_S, HeldBatch, HeldBatches
from wattfleet_tenants.writer.insertion import Insertion
from wattfleet_tenants.writer.lane_work import LaneWork
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.reception import Reception
from wattfleet_tenants.writer.render import Renderer

logger = logging.getLogger(__name__)

_FINISH_WITHIN_S = 5.0
_GIVE_BACK_WITHIN_S = 2.0
_COUNT_EVERY_S = 5.0
LONGEST_LOOK_S = 2.5
"""Between looks at the store's metrics. Once a second they were 3 % of a busy writer's work."""


@dataclass(frozen=True, slots=True)
class World:
    """What a writer works with."""

    inboxes: Mapping[Lane, Inbox]
    store: Store
    quarantine: Quarantine
    assignments: Assignments
    ledger: Ledger


class Writer:
    """One writer of a shard; several may share the inboxes. hold_s: see ACK_AFTER_S."""

    def __init__(self, world: World, limits: Limits, health: Health, hold_s: float = ACK_AFTER_S) -> None:
        self._world = world
        self._health = health
        self._persistence = Persistence(health)
        self._held = HeldBatches(hold_s, time.monotonic)
        self._look_every_s = min(LONGEST_LOOK_S, hold_s / 4)
        self._run = StoreRun("unknown", 0)
        reception = Reception(world.assignments, world.quarantine, limits, self._persistence)
        renderer = Renderer(limits.max_power_w)
        self._works: dict[Lane, LaneWork] = {}
        for lane, inbox in world.inboxes.items():
            insertion = Insertion(world.store, self._persistence, renderer)
            self._works[lane] = LaneWork(lane, inbox, reception, insertion, self._persistence, self)

    @property
    def store_run(self) -> StoreRun:
        """The store's run when it was last looked at."""
        return self._run

    def hold(self, arrived: Arrived) -> None:
        """Has `arrived` acknowledged once it is surely on the store's disk."""
        run = arrived.run or self._run
        self._held.add(HeldBatch(arrived.lane, arrived.receipts, arrived.settled, run, time.monotonic()))
        metrics.HELD.set(self._held.messages)

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping` is set, then has ended what the store has begun to take, and gives back the rest."""
        lanes = [asyncio.create_task(self._work(work)) for work in self._works.values()]
        others = (self._release_for_ever(), self._count_for_ever(), stopping.wait())
        tasks = [*lanes, *map(asyncio.create_task, others)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a bug in a part ends the writer: it must be seen
            await self._finish(lanes)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, work: LaneWork) -> None:
        self._run = await self._persistence.until_done("store", self._world.store.look)
        await work.run()

    async def _finish(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        """Lets what is being stored be stored, if it can be soon; the rest goes to another writer at once."""
        for work in self._works.values():
            work.stop()
        ended, _ = await asyncio.wait(lanes, timeout=_FINISH_WITHIN_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_WITHIN_S):
                for lane, work in self._works.items():
                    await self._give_back(lane, work.receipts)
        for task in ended:
            task.result()  # a bug must be seen now as well

    async def _release_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            if self._held.any_due() or "store" in self._health.troubles:
                await self._release()

    async def _release(self) -> None:
        """Acknowledges what is surely on the store's disk; what a restart may have lost is to be delivered again."""
        run = await self._persistence.until_done("store", self._world.store.look)
        self._judge(run)
        if endangered := self._held.take_endangered(run):
            await self._store_again(endangered)
        if due := self._held.take_due(run):
            await self._settle(due)
        metrics.HELD.set(self._held.messages)

    def _judge(self, run: StoreRun) -> None:
        """Whether the store keeps what it takes. While it does not, nothing is acknowledged, and the writer says so."""
        dropped = run.rows_dropped - self._run.rows_dropped if run.started == self._run.started else 0
        if dropped:
            logger.error("the store threw rows away", extra={"rows": dropped})
            self._health.trouble("kept", f"the store threw {dropped} rows away")
        else:
            self._health.ok("kept")
        metrics.STORE_DROPPED.set(run.rows_dropped)
        self._run = run

    async def _store_again(self, batches: Sequence[HeldBatch]) -> None:
        messages = sum(batch.stored for batch in batches)
        logger.warning("delivered again: the store may have lost them", extra={"messages": messages})
        metrics.STORED_AGAIN.inc(messages)
        for batch in batches:
            await self._give_back(batch.lane, batch.receipts)

    async def _give_back(self, lane: Lane, receipts: Sequence[str]) -> None:
        if receipts:
            give_back = partial(self._world.inboxes[lane].give_back, receipts)
            await self._persistence.until_done("inbox", give_back)

    async def _settle(self, batches: Sequence[HeldBatch]) -> None:
        """The ledger first: what is acknowledged is never seen again."""
        settled = [one for batch in batches for one in batch.settled]
        await self._persistence.until_done("ledger", lambda: self._world.ledger.settle(settled))
        for batch in batches:
            acknowledge = partial(self._world.inboxes[batch.lane].acknowledge, batch.receipts)
            await self._persistence.until_done("inbox", acknowledge)
            metrics.STORED.inc(batch.stored)

    async def _count_for_ever(self) -> None:
        """Keeps the accounts in sight: *sent = stored + quarantined + pending*, and nothing lost."""
        while True:
            totals = await self._persistence.until_done("ledger", self._world.ledger.totals)
            metrics.show(totals)
            if not total(totals.values()).balanced():
                logger.error("messages are missing", extra={lane: totals[lane].lost for lane in totals})
            await asyncio.sleep(_COUNT_EVERY_S)
