"""The writer: fetch, check, store, and only then acknowledge.

Nothing on the way works per reading in Python. Whatever fails is tried again and nothing is acknowledged meanwhile, so
the broker keeps what a writer could not finish, whether its store was away or it was killed. A writer that stops leaves
what it holds unacknowledged: it comes again to the next one, and storing it twice changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wattfleet_tenants.ports import Assignments, Inbox, Message, Quarantine, RefusedMessage, Store, StoreRun
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.held import ACK_AFTER_S, HeldBatch, HeldBatches
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.render import Renderer
from wattfleet_tenants.writer.triage import Sorted, senders_of, sort

logger = logging.getLogger(__name__)

BATCH_MESSAGES = 4_000
"""About 8 MB of text: bodies beyond that no longer get cheaper, and two of them are in memory at once."""
BATCH_WAIT_S = 1.0
_BATCHES_AT_ONCE = 2
MOST_HELD = 200_000
"""Messages, at about 300 bytes each; as many as the broker lets a shard's writers have unacknowledged."""
_FINISH_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class World:
    """What a writer works with."""

    inbox: Inbox
    store: Store
    quarantine: Quarantine
    assignments: Assignments


class Writer:
    """One writer of a shard; several may share the inbox. hold_s: see ACK_AFTER_S."""

    def __init__(
        self, shard: ShardId, world: World, limits: Limits, health: Health, hold_s: float = ACK_AFTER_S
    ) -> None:
        self._shard = shard
        self._world = world
        self._limits = limits
        self._persistence = Persistence(health)
        self._renderer = Renderer(limits.max_power_w)
        self._held = HeldBatches(hold_s, time.monotonic)
        self._look_every_s = min(1.0, hold_s / 4)
        self._run = StoreRun("unknown", 0)
        self._storing: set[asyncio.Task[Any]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping` is set, then finishes the batches at hand and leaves the rest to come again."""
        work = (self._store_for_ever(), self._release_for_ever(), stopping.wait())
        tasks = [asyncio.create_task(part) for part in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a bug in a part ends the writer: it must be seen
            if self._storing:
                tasks[0].cancel()
                await asyncio.wait(self._storing, timeout=_FINISH_WITHIN_S)
        finally:
            for task in (*tasks, *self._storing):
                task.cancel()

    async def _store_for_ever(self) -> None:
        self._run = await self._persistence.until_done("store", self._world.store.look)
        while True:
            messages = await self._fetch()
            if messages:
                self._storing.add(asyncio.create_task(self._store(messages)))
            while len(self._storing) >= _BATCHES_AT_ONCE or any(task.done() for task in self._storing):
                done, self._storing = await asyncio.wait(self._storing, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()

    async def _fetch(self) -> list[Message]:
        if self._held.messages >= MOST_HELD:
            await asyncio.sleep(self._look_every_s)
            return []
        inbox = self._world.inbox
        messages = await self._persistence.until_done("inbox", lambda: inbox.fetch(BATCH_MESSAGES, BATCH_WAIT_S))
        metrics.WAITING.set(inbox.waiting)
        metrics.RECEIVED.inc(len(messages))
        return messages

    async def _store(self, messages: Sequence[Message]) -> None:
        began_s = time.monotonic()
        outcome = await self._sort(messages)
        run = self._run
        samples = await self._insert(outcome.good)
        receipts = [messages[position].receipt for position in outcome.good_positions()]
        self._held.add(HeldBatch(receipts, outcome.good, run, time.monotonic()))
        metrics.HELD.set(self._held.messages)
        metrics.BATCH_MESSAGES.observe(len(messages))
        metrics.BATCH_SECONDS.observe(time.monotonic() - began_s)
        _follow("handed to the store", outcome.good)
        await self._refuse(outcome.refused)
        logger.info(
            "batch",
            extra={
                "messages": len(messages),
                "samples": samples,
                "refused": len(outcome.refused),
                "seconds": round(time.monotonic() - began_s, 4),
            },
        )

    async def _sort(self, messages: Sequence[Message]) -> Sorted:
        senders = senders_of(messages, self._shard)
        households = senders.households()
        foreign = await self._persistence.until_done("assignments", lambda: self._world.assignments.foreign(households))
        return sort(messages, senders, foreign, self._limits, int(time.time() * 1000))

    async def _insert(self, batches: Sequence[PowerBatch]) -> int:
        """Hands all readings to the store, however long it takes; returns how many there were."""
        body = b"".join(self._renderer.render(batch) for batch in batches)
        if body:
            await self._persistence.until_done("store", lambda: self._world.store.insert(body))
        samples = sum(
            int((batch.power_dw != MISSING).sum() + (batch.temperature_cc != MISSING).sum()) for batch in batches
        )
        metrics.SAMPLES.inc(samples)
        return samples

    async def _refuse(self, refused: Sequence[RefusedMessage]) -> None:
        if not refused:
            return
        await self._persistence.until_done("quarantine", lambda: self._world.quarantine.keep(refused))
        for one in refused:
            metrics.QUARANTINED.labels(one.reason).inc()
            extra = {"household": one.household, "sequence": one.sequence, "reason": one.reason}
            logger.warning("message refused", extra=extra)
        await self._acknowledge([one.message.receipt for one in refused])

    async def _release_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            if self._held.any_due():
                await self._release()

    async def _release(self) -> None:
        """Acknowledges what is surely on the store's disk, and stores again what a restart may have lost."""
        run = await self._persistence.until_done("store", self._world.store.look)
        if run.rows_dropped > self._run.rows_dropped and run.started == self._run.started:
            logger.error("the store threw rows away", extra={"rows": run.rows_dropped - self._run.rows_dropped})
        metrics.STORE_DROPPED.set(run.rows_dropped)
        self._run = run
        for batch in self._held.take_endangered(run):
            logger.warning("stored again: the store restarted", extra={"messages": len(batch.receipts)})
            metrics.STORED_AGAIN.inc(len(batch.receipts))
            await self._insert(batch.batches)
            self._held.add(replace(batch, run=run, stored_at_s=time.monotonic()))
        for batch in self._held.take_due(run):
            await self._acknowledge(batch.receipts)
            metrics.STORED.inc(len(batch.receipts))
            _follow("stored for good", batch.batches)
        metrics.HELD.set(self._held.messages)

    async def _acknowledge(self, receipts: Sequence[str]) -> None:
        await self._persistence.until_done("inbox", lambda: self._world.inbox.acknowledge(receipts))


def _follow(event: str, batches: Sequence[PowerBatch]) -> None:
    """At DEBUG, one line per message, so that a single reading can be followed through the writer."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    for batch in batches:
        for household, sequence in zip(batch.households, batch.sequence.tolist(), strict=True):
            logger.debug(event, extra={"household": household.decode(), "sequence": sequence})
