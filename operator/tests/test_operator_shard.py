"""A shard's reconcile, and the conditions that the loop makes of what goes wrong."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from operator_fakes import NOW, S1, SERVERS, Crash, FakeWorld, placed, shard, wish
from wattfleet_operator.conditions import READY, outcome_of, reported
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.shard import reconcile
from wattfleet_tenants.crd import Metadata, Shard, ShardStatus
from wattfleet_tenants.household import HouseholdId


@pytest.fixture
def fake() -> FakeWorld:
    fake = FakeWorld()
    fake.broker.accounts.clear()
    fake.broker.streams.clear()
    fake.store.running.clear()
    fake.workloads.running.clear()
    return fake


def deleted(resource: Shard) -> Shard:
    return resource.model_copy(update={"metadata": Metadata(name=resource.id, deletion_timestamp=NOW)})


async def test_a_shard_is_ready_when_a_reading_can_go_all_the_way_through(
    fake: FakeWorld, household: HouseholdId
) -> None:
    fake.resources.add(placed(wish(household)))
    status = await reconcile(shard(), fake.world)
    assert (status.ready, status.households) == (True, 1)
    assert (status.edge_urls, status.reader_url) == (list(SERVERS), "http://reader")
    steps = [call for call in fake.calls.made if call.startswith("ensure")]
    assert steps == ["ensure accounts", "ensure streams", "ensure store", "ensure workloads"]


@pytest.mark.parametrize("done_before_crash", [False, True])
async def test_a_crash_at_any_outside_call_converges(fake: FakeWorld, done_before_crash: bool) -> None:
    await reconcile(shard(), fake.world)
    for call in range(len(fake.calls.made)):
        other = FakeWorld()
        other.broker.accounts.clear()
        other.calls.crash_at, other.calls.done_before_crash = call, done_before_crash
        with pytest.raises(Crash):
            await reconcile(shard(), other.world)
        assert (await reconcile(shard(), other.world)).ready
        assert other.vault.texts.keys() == fake.vault.texts.keys()


async def test_a_shard_is_not_deleted_under_its_households(fake: FakeWorld, household: HouseholdId) -> None:
    await reconcile(shard(), fake.world)
    fake.resources.add(placed(wish(household)))
    with pytest.raises(NotYet, match="households that it still carries: 1"):
        await reconcile(deleted(shard()), fake.world)
    assert fake.workloads.running == {S1}
    fake.resources.kept.pop(household)
    await reconcile(deleted(shard()), fake.world)
    assert not fake.workloads.running | fake.store.running | fake.broker.accounts | fake.broker.streams
    assert fake.resources.shard(S1) is None


async def test_what_a_shard_that_is_to_go_loses_comes_back_while_it_carries_households(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await reconcile(shard(), fake.world)
    fake.resources.add(placed(wish(household)))
    fake.broker.accounts.clear()
    fake.broker.streams.clear()
    fake.workloads.running.clear()
    with pytest.raises(NotYet, match="households that it still carries: 1"):
        await reconcile(deleted(shard()), fake.world)
    assert (fake.broker.accounts, fake.broker.streams, fake.workloads.running) == ({S1}, {S1}, {S1})


@pytest.mark.parametrize(
    ("error", "ready", "reconciling", "stalled", "reason"),
    [
        (NotYet("WriterNotReady", "it starts"), "False", "True", "False", "WriterNotReady"),
        (Refused("NeedsACluster", "one each"), "False", "False", "True", "NeedsACluster"),
        (RuntimeError("a secret"), "False", "True", "False", "UnexpectedError"),
    ],
)
def test_what_goes_wrong_becomes_conditions_without_secrets(
    error: Exception, ready: str, reconciling: str, stalled: str, reason: str
) -> None:
    status = reported(ShardStatus(), outcome_of(error), 3, NOW)
    assert [c.status for c in status.conditions] == [ready, reconciling, stalled]
    assert {c.reason for c in status.conditions} == {reason}
    assert "secret" not in status.conditions[0].message
    assert status.observed_generation == 3


def test_the_time_of_a_condition_moves_only_with_its_truth() -> None:
    first = reported(ShardStatus(), outcome_of(NotYet("A")), 1, NOW)
    later = reported(first, outcome_of(NotYet("B")), 1, NOW + timedelta(minutes=1))
    assert {c.last_transition_time for c in later.conditions} == {NOW}
    ready = reported(later, READY, 1, NOW + timedelta(minutes=2))
    moved = [c.type for c in ready.conditions if c.last_transition_time > NOW]
    assert moved == ["Ready", "Reconciling"]


def test_the_example_is_a_shard() -> None:
    example = Path(__file__).parents[1] / "examples" / "shard.yaml"
    assert Shard.model_validate(yaml.safe_load(example.read_text())).id == S1
