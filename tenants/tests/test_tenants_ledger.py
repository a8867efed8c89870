"""The ledger counts every bundle once, whoever is killed between any two steps, and tells when one is missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.ledger import JetStreamLedger
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Account, Settled, Totals, total
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import bundle_of, message
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.wire.bundle import encode

bundles = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=12)
"""Per bundle, how many messages were stored and how many refused."""


def settled_of(contents: list[tuple[int, int]]) -> list[Settled]:
    sent, entries = 0, []
    for number, (stored, quarantined) in enumerate(contents, 1):
        sent += stored + quarantined
        entries.append(Settled(Lane.LIVE, "run", number, sent, stored, quarantined))
    return entries


@given(bundles, st.data())
def test_settling_in_any_order_and_any_number_of_times_counts_each_bundle_once(
    contents: list[tuple[int, int]], data: st.DataObject
) -> None:
    entries = settled_of(contents)
    account = Account()
    for group in data.draw(st.lists(st.lists(st.sampled_from(entries), max_size=8), max_size=8)):
        account.settle(group)
        account = Account.from_json(account.to_json())
    account.settle(data.draw(st.permutations(entries)))
    assert account.settle(entries) is False, "nothing is new any more"
    assert account.complete
    assert account.settled == [(1, len(entries))]
    assert account.totals(0, account.highest, 0) == Totals(
        entries[-1].sent_through, sum(s for s, _ in contents), sum(q for _, q in contents), 0, 0
    )


@given(bundles, st.data())
def test_what_waits_is_pending_and_what_neither_waits_nor_is_settled_is_lost(
    contents: list[tuple[int, int]], data: st.DataObject
) -> None:
    entries = settled_of(contents)
    fates = data.draw(st.lists(st.sampled_from("swl"), min_size=len(entries), max_size=len(entries)))
    account = Account()
    account.settle(entry for entry, fate in zip(entries, fates, strict=True) if fate == "s")
    sent = entries[-1].sent_through
    totals = account.totals(sent, len(entries), fates.count("w"))
    assert totals.sent == sent == totals.stored + totals.quarantined + totals.pending + totals.lost
    assert totals.balanced() == ("l" not in fates)
    if "w" not in fates:
        lost = sum(s + q for (s, q), fate in zip(contents, fates, strict=True) if fate == "l")
        assert totals.lost == lost


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"settled":[1],"sent":1,"stored":1,"quarantined":0}', b"\xff"])
def test_what_is_no_account_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Account.from_json(text)


def test_totals_add_up() -> None:
    assert total([Totals(5, 2, 1, 1, 1), Totals(1, 1, 0, 0, 0)]) == Totals(6, 3, 1, 1, 1)
    assert total([]) == Totals(0, 0, 0, 0, 0)


@asynccontextmanager
async def ledger_of(broker: ShardBroker) -> AsyncIterator[JetStreamLedger]:
    connection = NatsConnection()
    await connection.connect_to([broker.url], broker.writer_creds, "test", subjects.WRITER_INBOX)
    try:
        yield JetStreamLedger(connection, broker.shard)
    finally:
        await connection.close()


async def publish(broker: ShardBroker, run: str, number: int, before: int, count: int) -> None:
    bundle = bundle_of([b"h0123456789abcdefghij"] * count, [message()] * count, run, number, before)
    async with broker.operator() as nats:
        await nats.jetstream().publish(subjects.bundles(broker.shard, Lane.LIVE, run), encode(bundle))


async def test_what_is_in_the_stream_is_pending_before_anybody_settled_anything(broker: ShardBroker) -> None:
    async with ledger_of(broker) as ledger:
        assert (await ledger.totals())[Lane.LIVE] == Totals(0, 0, 0, 0, 0)
        await publish(broker, "a", 1, 0, 3)
        await publish(broker, "a", 2, 3, 4)
        await publish(broker, "b", 1, 0, 5)
        assert await ledger.totals() == {Lane.LIVE: Totals(12, 0, 0, 12, 0), Lane.BACKLOG: Totals(0, 0, 0, 0, 0)}


async def test_two_writers_settle_the_same_and_different_bundles_at_once(broker: ShardBroker) -> None:
    entries = settled_of([(number, 1) for number in range(1, 41)])
    async with ledger_of(broker) as one, ledger_of(broker) as other:
        await asyncio.gather(
            *[one.settle(entries[i : i + 8]) for i in range(0, 40, 5)],
            *[other.settle(entries[i : i + 8]) for i in range(0, 40, 5)],
        )
        assert (await one.totals())[Lane.LIVE] == Totals(860, 820, 40, 0, 0)


async def test_a_bundle_that_vanished_from_the_stream_is_told(broker: ShardBroker, household: HouseholdId) -> None:
    async with ledger_of(broker) as ledger, broker.operator() as nats:
        for number in range(1, 5):
            await publish(broker, "a", number, 10 * (number - 1), 10)
        await ledger.settle([Settled(Lane.LIVE, "a", 4, 40, 10, 0)])
        stream = subjects.bundle_stream(broker.shard, Lane.LIVE)
        assert (await ledger.totals())[Lane.LIVE] == Totals(40, 10, 0, 30, 0)
        await nats.jetstream().delete_msg(stream, 2)
        await nats.jetstream().delete_msg(stream, 4)
        assert not (await ledger.totals())[Lane.LIVE].balanced()
        for sequence in (1, 3):
            await nats.jetstream().delete_msg(stream, sequence)
        await ledger.settle([Settled(Lane.LIVE, "a", 1, 10, 10, 0), Settled(Lane.LIVE, "a", 3, 30, 10, 0)])
        assert (await ledger.totals())[Lane.LIVE] == Totals(40, 30, 0, 0, 10)


async def test_a_ledger_that_is_away_is_said_to_be(broker: ShardBroker) -> None:
    async with ledger_of(broker) as ledger:
        async with broker.operator() as nats:
            await nats.jetstream().delete_key_value(subjects.LEDGER_BUCKET)
        with pytest.raises(Unavailable):
            await ledger.totals()
        with pytest.raises(Unavailable):
            await ledger.settle(settled_of([(1, 0)]))
