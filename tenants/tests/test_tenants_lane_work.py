"""While the store is busy, what comes in waits together, is bounded, and is not lost to a writer's end."""

import asyncio
import time
from collections.abc import Sequence

import pytest
import writer_alone
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.adapters.jetstream import ACK_WAIT_S
from wattfleet_tenants.ports import Delivery
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import bundle_of, message, minutes
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.writer import belonging, lane_work, reception, sweep
from wattfleet_tenants.writer.checks import FOREIGN
from wattfleet_tenants.writer.held import ACK_AFTER_S
from wattfleet_tenants.writer.in_hand import (
    FIRST_BYTES,
    LARGEST_BUNDLE_BYTES,
    MOST_BYTES,
    STORED_WITHIN_S,
    InHand,
    allowed_bytes,
)
from wattfleet_tenants.writer.writer import LONGEST_LOOK_S
from writer_alone import BUNDLE_BYTES, STRANGER, WriterAlone

BUNDLES_IN_HAND = FIRST_BYTES // BUNDLE_BYTES


@given(st.floats(0.001, 600), st.integers(FIRST_BYTES, 96_000_000))
def test_so_much_is_in_hand_as_the_store_takes_in_time_and_it_grows_by_doubling(
    s_per_mb: float, first_bytes: int
) -> None:
    sizes = [first_bytes]
    for _ in range(10):
        sizes.append(min(96_000_000, allowed_bytes(sizes[-1], sizes[-1], sizes[-1] / 1e6 * s_per_mb)))
        assert sizes[-1] <= 2 * sizes[-2]
    stored_within_s = sizes[-1] / 1e6 * s_per_mb
    assert stored_within_s <= STORED_WITHIN_S * 1.01 or sizes[-1] == FIRST_BYTES // 2
    assert stored_within_s >= STORED_WITHIN_S / 2 * 0.99 or sizes[-1] == 96_000_000


def test_little_in_hand_says_nothing_of_what_much_takes() -> None:
    assert allowed_bytes(10_000_000, 100_000, 0.1) == 10_000_000


@given(st.lists(st.lists(st.integers(1, 1_000_000), max_size=9), max_size=9), st.sampled_from(Lane))
def test_what_is_in_hand_is_what_was_taken_and_not_let_go(fetches: list[list[int]], lane: Lane) -> None:
    in_hand = InHand(lane)
    empty = bundle_of([], [])
    taken = [[Delivery(empty, f"{i}.{j}", size) for j, size in enumerate(sizes)] for i, sizes in enumerate(fetches)]
    for deliveries in taken:
        in_hand.take(deliveries)
    total = sum(map(sum, fetches))
    room = min(FIRST_BYTES - total, FIRST_BYTES // 4)
    assert in_hand.room_bytes == (room if room >= LARGEST_BUNDLE_BYTES else 0)
    for deliveries in taken[::2]:
        in_hand.let_go([delivery.receipt for delivery in deliveries], 1.0)
    assert in_hand.receipts == [delivery.receipt for deliveries in taken[1::2] for delivery in deliveries]


@pytest.mark.parametrize("lane", Lane)
def test_what_may_be_in_hand_grows_up_to_its_limit_while_something_is_stored_and_never_for_nothing(lane: Lane) -> None:
    in_hand, empty = InHand(lane), bundle_of([], [])
    for round_ in range(8):
        in_hand.learn()
        assert in_hand.room_bytes == FIRST_BYTES // 4, f"nothing was stored in {round_} rounds"
    for round_ in range(8):
        in_hand.take([Delivery(empty, str(round_), 4 * in_hand.room_bytes)])
        in_hand.let_go([str(round_)], 1.0)
        in_hand.learn()
    assert in_hand.room_bytes == MOST_BYTES[lane] // 4


def test_what_waited_for_its_turn_is_acknowledged_before_the_broker_delivers_it_again() -> None:
    assert STORED_WITHIN_S + ACK_AFTER_S + LONGEST_LOOK_S < ACK_WAIT_S * 0.8


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


async def test_what_comes_in_while_the_store_is_busy_is_stored_together(bench: WriterAlone) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=0.1):
        bench.inbox.deliver(message(1))
        await asyncio.wait_for(store.began.wait(), 5)
        for sequence in range(2, 8):
            bench.inbox.deliver(message(sequence))
            await eventually(lambda: not bench.inbox.deliveries, 5, "fetched though the store is busy")
        store.may_go_on.set()
        await eventually(lambda: len(bench.inbox.acknowledged) == 7, 5, "all are stored")
    assert bench.store.inserts == 3, "the first, the one that was next, and all others"


@pytest.fixture
def more_comes(bench: WriterAlone, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """While it is set, whoever fetches finds one more message. Eight are much, and there is room for many."""
    monkeypatch.setattr(sweep, "WORTH_A_ROUND", 4)
    monkeypatch.setattr(writer_alone, "BUNDLE_BYTES", 1_000)
    fetch, comes = bench.inbox.fetch, asyncio.Event()

    async def fetch_one_more(most_bytes: int, wait_s: float) -> list[Delivery]:
        if comes.is_set():
            bench.inbox.deliver(message(9))
        return await fetch(most_bytes, wait_s)

    monkeypatch.setattr(bench.inbox, "fetch", fetch_one_more)
    comes.set()
    return comes


async def test_when_much_begins_to_come_its_first_visits_wait_until_some_has_gathered(
    bench: WriterAlone, more_comes: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lane_work.ROUND_S, Lane.BACKLOG, 0.6)
    monkeypatch.setattr(lane_work, "FOUND_AT_A_VISIT", 10**6)
    async with bench.writing(0.1, Lane.BACKLOG):
        for when in ("at first", "after a pause"):
            began_s, inserts = time.monotonic(), bench.store.inserts
            more_comes.set()
            bench.inbox.deliver(*map(message, range(1, 9)))
            await eventually(lambda before=inserts: bench.store.inserts > before, 5, "its turn has come")  # type: ignore[misc]
            assert time.monotonic() - began_s >= 0.3, when
            more_comes.clear()
            bench.inbox.deliver(*map(message, range(1, 9)))
            paused_s = time.monotonic()
            await eventually(lambda since_s=paused_s: time.monotonic() > since_s + 0.7, 5, "a pause")  # type: ignore[misc]
            assert not bench.inbox.deliveries


@pytest.mark.usefixtures("more_comes")
async def test_no_portion_waits_once_its_visits_find_enough(
    bench: WriterAlone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lane_work.ROUND_S, Lane.BACKLOG, 3600.0)
    monkeypatch.setattr(lane_work, "FOUND_AT_A_VISIT", 20)
    bench.inbox.deliver(*map(message, range(1, 9)))
    async with bench.writing(0.1, Lane.BACKLOG):
        await eventually(lambda: bench.store.inserts, 10, "there were enough")
        assert bench.store.bodies[0].count(b"\n") >= 20 * 2


async def test_a_fetch_gathers_longer_only_while_visits_find_much(
    bench: WriterAlone, more_comes: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_work, "FOUND_AT_A_VISIT", 5)
    fetch, waits_s = bench.inbox.fetch, list[float]()

    async def fetch_and_note(most_bytes: int, wait_s: float) -> list[Delivery]:
        waits_s.append(wait_s)
        return await fetch(most_bytes, wait_s)

    monkeypatch.setattr(bench.inbox, "fetch", fetch_and_note)
    bench.inbox.deliver(*map(message, range(1, 9)))
    usual_s = lane_work.GATHER_S[Lane.BACKLOG]
    async with bench.writing(0.1, Lane.BACKLOG):
        await eventually(lambda: lane_work.GATHER_FOR_MUCH_S in waits_s, 5, "visits find much")
        more_comes.clear()
        bench.inbox.deliver(message(9))
        await eventually(lambda: waits_s[-1] == usual_s, 5, "a visit found little")
    assert waits_s[0] == usual_s, "nothing is known yet"


async def test_nothing_waits_once_no_more_comes(bench: WriterAlone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lane_work.ROUND_S, Lane.BACKLOG, 3600.0)
    monkeypatch.setattr(sweep, "WORTH_A_ROUND", 4)
    monkeypatch.setattr(lane_work, "FOUND_AT_A_VISIT", 10**6)
    bench.inbox.deliver(*map(message, range(1, 9)))
    async with bench.writing(0.1, Lane.BACKLOG):
        await eventually(lambda: bench.store.inserts == 1, 5, "all of it is stored")
    assert len(bench.store.samples) == 8 * 2


async def test_a_store_that_is_away_finds_some_with_the_writer_and_the_rest_with_the_broker(bench: WriterAlone) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=0.1):
        for payload in minutes(100):
            bench.inbox.deliver(payload)
            if bench.inbox.fetched < BUNDLES_IN_HAND - 4:
                await eventually(lambda: not bench.inbox.deliveries, 5, "fetched by and by")
        await eventually(lambda: bench.inbox.fetched >= BUNDLES_IN_HAND - 2, 5, "it holds what it may")
        with pytest.raises(TimeoutError):
            await eventually(lambda: bench.inbox.fetched > BUNDLES_IN_HAND, 0.3, "it takes ever more")
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


async def test_a_writer_that_ends_stores_what_it_has_begun_and_gives_the_rest_back_at_once(bench: WriterAlone) -> None:
    store = SlowStore(bench)
    async with bench.writing(hold_s=60):
        bench.inbox.deliver(message(1))
        await asyncio.wait_for(store.began.wait(), 5)
        for sequence in (2, 3):
            last = bench.inbox.deliver(message(sequence))
            await eventually(lambda: not bench.inbox.deliveries, 5, "in hand")
        asyncio.get_running_loop().call_later(0.5, store.may_go_on.set)
    assert [delivery.receipt for delivery in bench.inbox.deliveries] == [last]
    assert bench.store.inserts == 2


async def test_who_was_unassigned_while_the_store_was_away_is_not_stored_when_it_comes_back(
    bench: WriterAlone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(belonging, "ASKED_WITHIN_S", 0.1)
    bench.assignments.carried.add(STRANGER)
    async with bench.writing(hold_s=0.1):
        store = SlowStore(bench)
        receipt = bench.inbox.deliver(message(1), household=STRANGER)
        await asyncio.wait_for(store.began.wait(), 5)
        bench.store.away = True
        store.may_go_on.set()
        await eventually(lambda: "store" in bench.health.troubles, 5, "the store is missed")
        bench.assignments.carried.discard(STRANGER)
        await eventually(lambda: "left to the broker" in caplog.text, 5, "it is given up")
        bench.store.away = False
        await bench.inbox.give_back([receipt])  # as the broker does once ack_wait is over
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "it was delivered again")
    assert bench.store.bodies == []
    assert [refused.reason for refused in bench.quarantine.kept] == [FOREIGN]


async def test_who_still_belongs_is_stored_when_the_store_comes_back(
    bench: WriterAlone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(belonging, "ASKED_WITHIN_S", 0.1)
    async with bench.writing(hold_s=0.1):
        store = SlowStore(bench)
        bench.inbox.deliver(message(1))
        await asyncio.wait_for(store.began.wait(), 5)
        bench.inbox.deliver(message(2))
        bench.store.away = True
        store.may_go_on.set()
        await eventually(lambda: "store" in bench.health.troubles, 5, "the store is missed")
        asked = bench.assignments.asked
        await eventually(lambda: bench.assignments.asked > asked, 5, "it asks again")
        bench.store.away = False
        await eventually(lambda: len(bench.inbox.acknowledged) == 2, 5, "all are stored")
    assert bench.inbox.fetched == 2


async def test_a_refusal_that_could_not_be_kept_in_time_is_left_to_the_broker(
    bench: WriterAlone, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.quarantine.away = True
    async with bench.writing(hold_s=0.1):
        receipt = bench.inbox.deliver(message(1), household=STRANGER)
        await eventually(lambda: "quarantine" in bench.health.troubles, 5, "the quarantine is missed")
        monkeypatch.setattr(reception, "ASKED_WITHIN_S", 0.0)
        bench.quarantine.away = False
        await eventually(lambda: bench.health.troubles == {}, 5, "the quarantine is there again")
        assert (bench.quarantine.kept, bench.inbox.acknowledged) == ([], [])
        monkeypatch.setattr(reception, "ASKED_WITHIN_S", 30.0)
        await bench.inbox.give_back([receipt])  # as the broker does once ack_wait is over
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "it is kept, and settled")
    assert [refused.reason for refused in bench.quarantine.kept] == [FOREIGN]


async def test_a_store_that_is_back_is_no_trouble_any_more_though_nothing_is_left_to_be_stored(
    bench: WriterAlone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(belonging, "ASKED_WITHIN_S", 0.0)
    bench.assignments.carried.add(STRANGER)
    async with bench.writing(hold_s=0.1):
        store = SlowStore(bench)
        bench.inbox.deliver(message(1), household=STRANGER)
        await asyncio.wait_for(store.began.wait(), 5)
        bench.store.away = True
        store.may_go_on.set()
        await eventually(lambda: "store" in bench.health.troubles, 5, "the store is missed")
        bench.assignments.carried.discard(STRANGER)
        bench.store.away = False
        await eventually(lambda: bench.health.troubles == {}, 5, "it was looked at")
    assert bench.store.bodies == []
