"""Hands readings to the store, as runs or as rows, however long it takes.

Runs go in the store's order, three bodies at a time: one by one, 60,000 series took 53,000 messages/s instead of 68,000
with two, and 600,000 took 38,000 instead of 40,000; with the third, there is one more for the store to take while it
is busy with what it got before. Rows go some messages at a time, so that neither side needs much memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from wattfleet_tenants.ports import Store
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import metrics, runs
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.render import Renderer

Confirm = Callable[[], Awaitable[None]]
"""Awaited right before each attempt; what it raises ends the insertion."""

_BODIES_AT_ONCE = 3
_MESSAGES_OF_ROWS_AT_ONCE = 10_000
"""15 MB of CSV for 30 sockets."""


class Insertion:
    """Several insertions of a lane may be under way: their runs go one behind the other, in the order in which they
    began.

    A body is sent but for its last byte while the store is busy with the one before. So the store has the next one in
    its hands when it is done with one, and takes them in their order, which is its own. Two that it works on side by
    side mix, and it has to sort them again, which was 19 % of its work at 60,000 series.
    """

    def __init__(self, store: Store, persistence: Persistence, renderer: Renderer) -> None:
        self._store = store
        self._persistence = persistence
        self._renderer = renderer
        self._free = asyncio.Semaphore(_BODIES_AT_ONCE)
        self._writing = asyncio.Lock()
        self._last_ended = asyncio.Event()
        self._last_ended.set()

    async def insert(self, batches: Sequence[PowerBatch], confirm: Confirm) -> int:
        """Hands all readings to the store, however long it takes; returns how many there were.

        Raises what `confirm` raises, by itself or in a group.
        """
        as_runs: list[PowerBatch] = []
        as_rows: list[PowerBatch] = []
        messages = sum(map(len, batches))
        for batch in batches:
            if not runs.worth_runs(batch, messages):
                as_rows.append(batch)
                continue
            complete, rest = runs.apart(batch)
            as_runs.append(complete)
            as_rows.extend(rest)
        samples = await self._insert_runs(as_runs, confirm)
        for some in _some_at_a_time(as_rows):
            samples += await self._insert_rows(some, confirm)
        return samples

    async def _insert_rows(self, batches: Sequence[PowerBatch], confirm: Confirm) -> int:
        rows = [written for written in map(self._renderer.render, batches) if written.nbytes]

        async def attempt() -> None:
            await confirm()
            await self._store.insert_rows(rows)

        samples = sum(batch.samples for batch in batches)
        if rows:
            await self._persistence.until_done("store", attempt)
            metrics.SAMPLES.inc(samples)
        return samples

    async def _insert_runs(self, batches: Sequence[PowerBatch], confirm: Confirm) -> int:
        """The next body is written while the store takes others."""
        samples = 0
        async with asyncio.TaskGroup() as group, self._writing:
            for body in runs.bodies(batches):
                await self._free.acquire()
                before, ended = self._last_ended, asyncio.Event()
                self._last_ended = ended
                inserting = group.create_task(self._insert_body(body, before, ended, confirm))
                inserting.add_done_callback(partial(self._end, ended))
                samples += body.samples
                await asyncio.sleep(0)  # begins it
        return samples

    def _end(self, ended: asyncio.Event, _: asyncio.Task[None]) -> None:
        ended.set()
        self._free.release()

    async def _insert_body(
        self, body: runs.Body, before: asyncio.Event, ended: asyncio.Event, confirm: Confirm
    ) -> None:
        """Whatever comes behind it waits for the first attempt only."""

        async def attempt() -> None:
            try:
                await confirm()
                await self._store.insert_runs([body.content], before)
            finally:
                ended.set()

        await self._persistence.until_done("store", attempt)
        metrics.SAMPLES.inc(body.samples)


def _some_at_a_time(batches: Sequence[PowerBatch]) -> Iterator[list[PowerBatch]]:
    """All of them, in lists of so many messages at most."""
    some: list[PowerBatch] = []
    for batch in batches:
        first = 0
        while first < len(batch):
            room = _MESSAGES_OF_ROWS_AT_ONCE - sum(map(len, some))
            some.append(batch.only(slice(first, first + room)))
            first += room
            if len(some[-1]) == room:
                yield some
                some = []
    if some:
        yield some
