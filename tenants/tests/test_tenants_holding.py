"""When the writer acknowledges, against fakes of its ports: never before what it took is surely kept."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Settled
from wattfleet_tenants.ports import StoreRun
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.writer.held import HeldBatch, HeldBatches
from writer_alone import HOME, STRANGER, WriterAlone


@pytest.fixture
def bench() -> WriterAlone:
    return WriterAlone()


async def test_what_the_store_took_is_acknowledged_after_the_hold(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.2):
        receipt = bench.inbox.deliver(message())
        await eventually(lambda: bench.store.bodies, 5, "stored")
        assert bench.inbox.acknowledged == []
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "acknowledged")
    assert bench.store.inserts == 1
    assert bench.ledger.settled == [Settled(Lane.LIVE, "run", 1, 1, 1, 0)]


async def test_nothing_is_acknowledged_that_the_ledger_does_not_know(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.1):
        bench.ledger.away = True
        receipt = bench.inbox.deliver(message())
        await eventually(lambda: "ledger" in bench.health.troubles, 5, "said")
        assert bench.inbox.acknowledged == []
        bench.ledger.away = False
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "acknowledged")


async def test_a_restarted_store_is_given_everything_again_before_anything_is_acknowledged(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.4):
        receipts = [bench.inbox.deliver(message(1))]
        await eventually(lambda: bench.store.bodies, 5, "stored")
        receipts.append(bench.inbox.deliver(message(2, power_w=(7.0,))))
        await eventually(lambda: len(bench.store.bodies) == 2, 5, "stored")
        before = bench.store.samples
        bench.store.restart()
        await eventually(lambda: bench.store.samples == before, 5, "stored again")
        assert bench.inbox.acknowledged == []
        await eventually(lambda: sorted(bench.inbox.acknowledged) == receipts, 5, "acknowledged")


async def test_nothing_is_acknowledged_that_the_store_may_have_thrown_away(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.4):
        receipt = bench.inbox.deliver(message())
        await eventually(lambda: bench.store.bodies, 5, "stored")
        bench.store.dropped += 2
        await eventually(lambda: "kept" in bench.health.troubles, 5, "said")
        assert bench.inbox.acknowledged == []
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "acknowledged when it is kept")
    assert bench.store.inserts == 2
    assert bench.health.troubles == {}


async def test_while_the_store_is_away_nothing_is_acknowledged_and_it_is_said(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.1):
        bench.store.away = True
        receipt = bench.inbox.deliver(message())
        await eventually(lambda: "store" in bench.health.troubles, 5, "said")
        assert bench.inbox.acknowledged == []
        bench.store.away = False
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "acknowledged")
    assert bench.health.troubles == {}


async def test_a_refused_message_is_acknowledged_only_when_the_quarantine_has_it(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.1):
        bench.quarantine.away = True
        good, bad = bench.inbox.deliver(message()), bench.inbox.deliver(b"\xff")
        await eventually(lambda: "quarantine" in bench.health.troubles, 5, "said")
        assert bad not in bench.inbox.acknowledged
        bench.quarantine.away = False
        await eventually(lambda: sorted(bench.inbox.acknowledged) == [good, bad], 5, "both are done with")
    assert [(one.reason, one.household) for one in bench.quarantine.kept] == [("malformed", HOME)]


async def test_a_mixed_bundle_stores_its_good_messages_and_accounts_for_each(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=0.1):
        receipt = bench.inbox.deliver(message(1), b"\xff", message(3, power_w=(1e6,)), message(4))
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "acknowledged")
    assert bench.ledger.settled == [Settled(Lane.LIVE, "run", 1, 4, 2, 2)]
    assert sorted((one.reason, one.identity) for one in bench.quarantine.kept) == [
        ("implausible-power", "live.run.1.2"), ("malformed", "live.run.1.3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sender", "payload", "household", "sequence"),
    [
        (STRANGER, message(7), STRANGER, 7),
        (STRANGER, b"\xff", STRANGER, None),
        (HOME * 3, message(7), None, 7),
        ("*", message(7), None, 7),
        ("h\x00\xff", message(7), None, 7),
        ("", b"", None, None),
    ],
)
async def test_a_foreign_message_is_refused_with_what_is_known_of_it(
    bench: WriterAlone, sender: str, payload: bytes, household: HouseholdId | None, sequence: int | None
) -> None:
    async with bench.writing(hold_s=0.1):
        neighbour = bench.inbox.deliver(message())
        foreign = bench.inbox.deliver(payload, household=sender)
        await eventually(lambda: sorted(bench.inbox.acknowledged) == [neighbour, foreign], 5, "both are done with")
    (kept,) = bench.quarantine.kept
    assert (kept.reason, kept.household, kept.sequence) == ("foreign", household, sequence)
    assert b"".join(bench.store.bodies).count(b"\n") == 2, "the neighbour's readings are stored"


async def test_nobody_is_called_foreign_while_it_cannot_be_told(bench: WriterAlone) -> None:
    bench.assignments.away = True
    async with bench.writing(hold_s=0.1):
        receipt = bench.inbox.deliver(message())
        await eventually(lambda: "assignments" in bench.health.troubles, 5, "said")
        bench.assignments.away = False
        await eventually(lambda: bench.inbox.acknowledged == [receipt], 5, "acknowledged")
    assert bench.quarantine.kept == []


async def test_stopping_leaves_what_is_held_to_come_again(bench: WriterAlone) -> None:
    async with bench.writing(hold_s=60):
        bench.inbox.deliver(message())
        await eventually(lambda: bench.store.bodies, 5, "stored")
    assert bench.inbox.acknowledged == []


async def test_it_can_be_stopped_though_its_store_was_never_there(bench: WriterAlone) -> None:
    bench.store.away = True
    async with bench.writing(hold_s=60):
        await eventually(lambda: "store" in bench.health.troubles, 5, "said")


async def test_a_bug_ends_the_writer_instead_of_hiding_in_a_task(bench: WriterAlone) -> None:
    async def broken(_: Sequence[memoryview]) -> None:
        raise ZeroDivisionError

    bench.store.insert_rows = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 (it is raised when the writer is left)
        async with bench.writing(hold_s=0.1):
            bench.inbox.deliver(message())
            await eventually(lambda: not bench.inbox.deliveries, 5, "taken")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100)), max_size=20), st.sampled_from("ab"))
def test_what_is_due_is_old_and_of_this_run_and_what_is_endangered_of_another(
    added: list[tuple[str, float]], now_in: str
) -> None:
    held = HeldBatches(50, lambda: 100.0)
    for run, stored_at_s in added:
        one = Settled(Lane.LIVE, run, 1, 1, 1, 0)
        held.add(HeldBatch(Lane.LIVE, [f"{run}{stored_at_s}"], [one], StoreRun(run, 0), stored_at_s))
    endangered = held.take_endangered(StoreRun(now_in, 0))
    due = held.take_due(StoreRun(now_in, 0))
    assert sorted(batch.run.started for batch in endangered) == sorted(run for run, _ in added if run != now_in)
    assert len(due) == sum(run == now_in and stored_at_s <= 50 for run, stored_at_s in added)
    assert held.messages == len(added) - len(endangered) - len(due)
