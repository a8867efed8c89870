"""While the store is busy, what comes in makes one larger batch, of bounded size, and is not lost to a writer's end."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.adapters.jetstream import ACK_WAIT_S
from wattfleet_tenants.testing.builders import message, minutes
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.writer.gathering import BATCH_WITHIN_S, FIRST_BATCH_BYTES, most_bytes
from wattfleet_tenants.writer.held import ACK_AFTER_S
from writer_alone import BUNDLE_BYTES, WriterAlone

BUNDLES_IN_A_BATCH = FIRST_BATCH_BYTES // BUNDLE_BYTES


@given(st.floats(0.001, 600), st.integers(FIRST_BATCH_BYTES, 48_000_000))
def test_batches_get_as_small_as_a_slow_store_needs_them_and_grow_by_doubling(
    s_per_mb: float, first_bytes: int
) -> None:
    sizes = [first_bytes]
    for _ in range(10):
        sizes.append(min(48_000_000, most_bytes(sizes[-1], sizes[-1], sizes[-1] / 1e6 * s_per_mb)))
        assert sizes[-1] <= 2 * sizes[-2]
    stored_within_s = sizes[-1] / 1e6 * s_per_mb
    assert stored_within_s <= BATCH_WITHIN_S * 1.01 or sizes[-1] == FIRST_BATCH_BYTES // 2
    assert stored_within_s >= BATCH_WITHIN_S / 2 * 0.99 or sizes[-1] == 48_000_000


def test_small_batches_say_nothing_of_what_large_ones_take() -> None:
    assert most_bytes(5_000_000, 100_000, 0.1) == 5_000_000


def test_what_waited_behind_a_batch_is_acknowledged_before_the_broker_delivers_it_again() -> None:
    look_s = 1.0
    assert 2 * BATCH_WITHIN_S + ACK_AFTER_S + look_s < ACK_WAIT_S * 0.8


class SlowStore:
    """Takes rows as long as it is told."""

    def __init__(self, bench: WriterAlone) -> None:
        self.may_go_on = asyncio.Event()
        self.began = asyncio.Event()
        self._insert = bench.store.insert_rows
        bench.store.insert_rows = self.insert_rows  # type: ignore[method-assign]

    async def insert_rows(self, rows: Sequence[memoryview]) -> None:
        self.began.set()
        await self.may_go_on.wait()
        await self._insert(rows)


@pytest.fixture
def bench() -> WriterAlone:
    return WriterAlone()


async def test_what_comes_in_while_the_store_is_busy_is_one_batch(bench: WriterAlone) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=0.1):
        bench.inbox.deliver(message(1))
        await asyncio.wait_for(store.began.wait(), 5)
        for sequence in range(2, 8):
            bench.inbox.deliver(message(sequence))
            await eventually(lambda: not bench.inbox.deliveries, 5, "fetched though the store is busy")
        store.may_go_on.set()
        await eventually(lambda: len(bench.inbox.acknowledged) == 7, 5, "all are stored")
    assert bench.store.inserts == 2


async def test_a_store_that_is_away_finds_two_batches_with_the_writer_and_the_rest_with_the_broker(
    bench: WriterAlone,
) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=0.1):
        for payload in minutes(100):
            bench.inbox.deliver(payload)
        await eventually(lambda: bench.inbox.fetched >= 2 * BUNDLES_IN_A_BATCH - 2, 5, "it holds two batches")
        with pytest.raises(TimeoutError):
            await eventually(lambda: bench.inbox.fetched > 2 * BUNDLES_IN_A_BATCH, 0.3, "it takes ever more")
        store.may_go_on.set()
        await eventually(lambda: len(bench.inbox.acknowledged) == 100, 10, "all are stored")
    assert len(bench.store.samples) == len(set(bench.store.samples)) == 2 * 100 + 80


async def test_a_writer_that_ends_while_its_store_is_away_gives_everything_back(bench: WriterAlone) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=60):
        receipts = [bench.inbox.deliver(message(1))]
        await asyncio.wait_for(store.began.wait(), 5)
        receipts.append(bench.inbox.deliver(message(2)))
        await eventually(lambda: not bench.inbox.deliveries, 5, "gathered")
    assert sorted(delivery.receipt for delivery in bench.inbox.deliveries) == receipts
    assert bench.store.inserts == 0


async def test_a_writer_that_ends_stores_one_batch_and_gives_the_other_back_at_once(bench: WriterAlone) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=60):
        bench.inbox.deliver(message(1))
        await asyncio.wait_for(store.began.wait(), 5)
        other = bench.inbox.deliver(message(2))
        await eventually(lambda: not bench.inbox.deliveries, 5, "gathered")
        asyncio.get_running_loop().call_later(0.5, store.may_go_on.set)
    assert [delivery.receipt for delivery in bench.inbox.deliveries] == [other]
    assert bench.store.inserts == 1
