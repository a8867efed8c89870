"""The writer: fetch, check, store, and only then acknowledge.

Nothing on the way works per reading in Python. Whatever fails is tried again and nothing is acknowledged meanwhile, so
the broker keeps what a writer could not finish, whether its store was away or it was killed. A writer that stops leaves
what it holds unacknowledged: it comes again to the next one, and storing it twice changes nothing. The two lanes are
worked side by side, so that live readings never wait behind a backlog; of each, one batch is stored while the next one
gathers.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import total
from wattfleet_tenants.ports import Assignments, Delivery, Inbox, Ledger, Quarantine, RefusedMessage, Store, StoreRun
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.gathering import Gathering
from wattfleet_tenants.writer.held import ACK_AFTER_S, HeldBatch, HeldBatches
from wattfleet_tenants.writer.insertion import Insertion
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.triage import Arrivals, Names, sort

logger = logging.getLogger(__name__)

_LAST_FETCH_WITHIN_S = 2.0
_FINISH_WITHIN_S = 5.0
_GIVE_BACK_WITHIN_S = 2.0
_COUNT_EVERY_S = 5.0


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
        self._limits = limits
        self._health = health
        self._persistence = Persistence(health)
        self._insertion = Insertion(world.store, self._persistence, limits.max_power_w)
        self._names = Names()
        self._held = HeldBatches(hold_s, time.monotonic)
        self._look_every_s = min(1.0, hold_s / 4)
        self._run = StoreRun("unknown", 0)
        self._gathering = {lane: Gathering(lane, inbox, self._persistence) for lane, inbox in world.inboxes.items()}
        self._storing: dict[Lane, asyncio.Task[None]] = {}
        self._in_hand: dict[Lane, list[Delivery]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping` is set, then finishes the batches at hand and leaves the rest to come again."""
        lanes = [asyncio.create_task(self._store_until(stopping, lane)) for lane in self._world.inboxes]
        others = (self._release_for_ever(), self._count_for_ever(), stopping.wait())
        tasks = [*lanes, *map(asyncio.create_task, others)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a bug in a part ends the writer: it must be seen
            await self._finish(lanes)
        finally:
            for task in (*tasks, *self._storing.values()):
                task.cancel()

    async def _finish(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        """Lets what is being stored be stored, if it can be soon; the rest goes to another writer at once."""
        ended, _ = await asyncio.wait(lanes, timeout=_LAST_FETCH_WITHIN_S)
        for task in lanes:
            task.cancel()
        if self._storing:
            stored, _ = await asyncio.wait(self._storing.values(), timeout=_FINISH_WITHIN_S)
            ended |= stored
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_WITHIN_S):
                for lane, gathering in self._gathering.items():
                    left = gathering.take_all()
                    if lane in self._storing and not self._storing[lane].done():
                        left += self._in_hand[lane]
                    await self._give_back(lane, [delivery.receipt for delivery in left])
        for task in ended:
            task.result()  # a bug must be seen now as well

    async def _store_until(self, stopping: asyncio.Event, lane: Lane) -> None:
        self._run = await self._persistence.until_done("store", self._world.store.look)
        gathering = self._gathering[lane]
        while not stopping.is_set():
            full = not await gathering.fetch()
            if lane in self._storing and (full or self._storing[lane].done()):
                await asyncio.wait([self._storing[lane]])
                self._storing.pop(lane).result()
            if gathering and lane not in self._storing and not stopping.is_set():
                self._in_hand[lane] = gathering.take()
                self._storing[lane] = asyncio.create_task(self._store(lane, self._in_hand[lane]))

    async def _store(self, lane: Lane, deliveries: Sequence[Delivery]) -> None:
        began_s = time.monotonic()
        arrivals = Arrivals(lane, deliveries)
        metrics.RECEIVED.inc(len(arrivals))
        names = self._names.of(arrivals.senders.names)
        foreign = await self._foreign(names)
        now_ms = int(time.time() * 1000)
        outcome = sort(arrivals.messages, arrivals.senders, foreign, self._quotas(names), self._limits, now_ms)
        run = self._run
        samples = await self._insertion.insert(outcome.good)
        stored_at_s = time.monotonic()
        self._gathering[lane].learn(deliveries, stored_at_s - began_s)
        _follow("handed to the store", outcome.good)
        await self._refuse(outcome.refused(arrivals, names))
        settled = arrivals.settled([one.position for one in outcome.objections])
        self._held.add(HeldBatch(lane, arrivals.receipts, settled, run, stored_at_s))
        metrics.HELD.set(self._held.messages)
        metrics.BATCH_MESSAGES.observe(len(arrivals))
        metrics.BATCH_SECONDS.observe(stored_at_s - began_s)
        logger.info(
            "batch",
            extra={
                "lane": lane,
                "bundles": len(deliveries),
                "messages": len(arrivals),
                "samples": samples,
                "refused": len(outcome.objections),
                "seconds": round(stored_at_s - began_s, 4),
            },
        )

    async def _foreign(self, names: Mapping[bytes, HouseholdId | None]) -> set[bytes]:
        """Those of the senders that are no households of this shard."""
        households = [name for name in names.values() if name is not None]
        strangers = await self._persistence.until_done(
            "assignments", lambda: self._world.assignments.foreign(households)
        )
        return {token for token, name in names.items() if name is None or name in strangers}

    def _quotas(self, names: Mapping[bytes, HouseholdId | None]) -> dict[bytes, Quota]:
        """The quotas of those of the senders that have one of their own; mostly nobody has."""
        quotas = self._world.assignments.quotas
        return {token: quotas[name] for token, name in names.items() if name and name in quotas} if quotas else {}

    async def _refuse(self, refused: Sequence[RefusedMessage]) -> None:
        if not refused:
            return
        await self._persistence.until_done("quarantine", lambda: self._world.quarantine.keep(refused))
        for one in refused:
            metrics.QUARANTINED.labels(one.reason).inc()
            extra = {"household": one.household, "sequence": one.sequence, "reason": one.reason}
            logger.warning("message refused", extra=extra)

    async def _release_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            if self._held.any_due():
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


def _follow(event: str, batches: Sequence[PowerBatch]) -> None:
    """At DEBUG, one line per message, so that a single reading can be followed through the writer."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    for batch in batches:
        for household, sequence in zip(batch.households, batch.sequence.tolist(), strict=True):
            logger.debug(event, extra={"household": household.decode(), "sequence": sequence})
