"""A household's reconcile, decided in a world in memory that dies at every outside call once."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from operator_fakes import BROKER_AHEAD, NOW, S1, Crash, FakeWorld, placed, shard, wish
from wattfleet_operator.credential import LIFETIME, RENEWED_BEFORE, read_credential
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.household import ERASED_AGAIN_AFTER, reconcile
from wattfleet_tenants.adapters.assignments import KNOWN_WITHIN_S
from wattfleet_tenants.adapters.victoriametrics import ATTEMPT_WITHIN_S
from wattfleet_tenants.crd import ConditionType, Household, HouseholdStatus
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.quota import DEFAULT_QUOTA, Quota
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.writer.reception import ASKED_WITHIN_S


@pytest.fixture
def fake() -> FakeWorld:
    return FakeWorld()


async def look(fake: FakeWorld, household: HouseholdId) -> HouseholdStatus:
    """One look, whose status is kept as the loop does."""
    resource = fake.resources.household(household)
    status = await reconcile(resource, fake.world)
    if household in fake.resources.kept:
        fake.resources.add(resource.model_copy(update={"status": status}))
    return status


async def born(fake: FakeWorld, household: HouseholdId, **spec: object) -> HouseholdStatus:
    fake.resources.add(wish(household, **spec))
    return await look(fake, household)


def change(fake: FakeWorld, household: HouseholdId, deleted: bool = False, **spec: object) -> None:
    resource = wish(household, deleted, **spec)
    fake.resources.add(resource.model_copy(update={"status": fake.resources.household(household).status}))


async def test_a_household_is_born_placed_first_assigned_second_and_given_a_home_file_last(
    fake: FakeWorld, household: HouseholdId
) -> None:
    status = await born(fake, household)
    kept = [call for call in fake.calls.made if not call.startswith("keep")]
    assert kept == ["place", "assign", "write home file"]
    assert (status.shard, status.ready) == (S1, True)
    assert status.credential_expires == NOW + LIFETIME
    home = fake.homes.files[household]
    assert (home.household, home.shard, home.servers) == (household, S1, fake.broker.servers)
    assert home.send_phase_ms == status.send_phase_ms == 0
    assert "PUBLIC KEY" in home.command_key


async def test_a_second_look_changes_nothing(fake: FakeWorld, household: HouseholdId) -> None:
    first = await born(fake, household)
    home = fake.homes.files[household]
    second = await look(fake, household)
    assert second == first
    assert fake.homes.files[household] == home
    assert (len(fake.broker.minted), len(fake.homes.disclosed)) == (1, 1)


async def test_an_edited_quota_is_carried_over_at_the_next_look_of_a_suspended_household_too(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    assert fake.broker.quotas == {household: DEFAULT_QUOTA}
    for more in ({}, {"suspended": True}):
        change(fake, household, **QUOTA, **more)
        await look(fake, household)
        assert fake.broker.quotas == {household: Quota(backlog_days=3, sockets=30)}
        change(fake, household, **more)
        await look(fake, household)
        assert fake.broker.quotas == {household: DEFAULT_QUOTA}


async def test_each_household_of_a_shard_sends_at_a_time_of_its_own_and_stays_at_it(fake: FakeWorld) -> None:
    homes = [mint_household_id() for _ in range(60)]
    phases = [(await born(fake, home)).send_phase_ms for home in homes]
    assert sorted(phase_ms // 1000 for phase_ms in phases if phase_ms is not None) == list(range(60))
    assert [(await look(fake, home)).send_phase_ms for home in homes] == phases
    assert [fake.homes.files[home].send_phase_ms for home in homes] == phases


async def test_a_household_that_an_older_platform_placed_stays_there_and_gets_its_time(
    fake: FakeWorld, household: HouseholdId
) -> None:
    fake.resources.add(shard("s2"))
    fake.resources.add(placed(wish(mint_household_id()), send_phase_ms=0))
    fake.resources.add(placed(wish(household)))
    status = await look(fake, household)
    assert (status.shard, status.send_phase_ms) == (S1, 37_000)
    assert fake.homes.files[household].send_phase_ms == 37_000


ERASE, RETAIN = {"deletionPolicy": "Erase"}, {"deletionPolicy": "Retain"}
QUOTA = {"quota": {"backlogDays": 3, "sockets": 30}}


@pytest.mark.parametrize("done_before_crash", [False, True])
@pytest.mark.parametrize(
    ("specs", "deleted"),
    [
        ([{}], False),
        ([{}, {"suspended": True}], False),
        ([{}, {"suspended": True}, {}], False),
        ([{}, QUOTA], False),
        ([QUOTA, {**QUOTA, "suspended": True}, {}], False),
        ([{}, ERASE], True),
        ([{}, RETAIN], True),
    ],
    ids=["birth", "suspension", "return", "quota", "return-without-a-quota", "end", "end-with-its-readings-kept"],
)
async def test_a_crash_at_any_outside_call_converges_to_the_same_world(
    household: HouseholdId, specs: list[dict[str, object]], deleted: bool, done_before_crash: bool
) -> None:
    """Two operators look at the same wishes; one of them dies once, at each call in turn."""
    undisturbed = FakeWorld()
    await live(undisturbed, household, specs, deleted)
    for call in range(len(undisturbed.calls.made)):
        fake = FakeWorld()
        fake.calls.crash_at, fake.calls.done_before_crash = call, done_before_crash
        await live(fake, household, specs, deleted)
        assert shape(fake, household) == shape(undisturbed, household), undisturbed.calls.made[call]
        home = fake.homes.files.get(household)
        in_force = {read_credential(home.credentials).user_key} if home else set()
        assert set(fake.homes.disclosed) - fake.broker.revoked == in_force, "no credential is left behind"


async def live(fake: FakeWorld, household: HouseholdId, specs: list[dict[str, object]], deleted: bool) -> None:
    """Looks until each wish is fulfilled, starting again after a crash."""
    fake.resources.add(wish(household, **specs[0]))
    for index, spec in enumerate(specs):
        change(fake, household, deleted and index == len(specs) - 1, **spec)
        for _ in range(5):
            try:
                if household in fake.resources.kept:
                    await look(fake, household)
            except Crash:
                continue
            except NotYet as error:
                fake.passes(timedelta(seconds=error.retry_in_s))


def shape(fake: FakeWorld, household: HouseholdId) -> object:
    home = fake.homes.files.get(household)
    resource = fake.resources.kept.get(household)
    return (
        fake.broker.assigned,
        fake.broker.quotas,
        home and (home.shard, home.servers, read_credential(home.credentials).user_key in fake.broker.revoked),
        resource and (resource.status.ready, getattr(resource.status, "shard", None)),
        household in fake.store.series,
        [name for name in fake.vault.texts if name.startswith("erasing")],
    )


async def test_a_credential_is_renewed_in_the_last_third_of_its_life_for_the_same_key(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    fake.passes(LIFETIME - RENEWED_BEFORE - timedelta(seconds=1))
    await look(fake, household)
    assert len(fake.broker.minted) == 1
    fake.passes(timedelta(seconds=1))
    status = await look(fake, household)
    first, second = fake.broker.minted
    assert first.user_key == second.user_key
    assert status.credential_expires == fake.now + LIFETIME


async def test_a_credential_of_a_signing_key_that_is_no_longer_used_is_replaced(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    fake.broker.signing_key = type(fake.broker)(fake.calls).signing_key
    await look(fake, household)
    assert fake.homes.files[household].credentials == fake.broker.minted[-1].text
    assert len({c.user_key for c in fake.broker.minted}) == 2


async def test_a_suspended_household_keeps_its_place_and_loses_its_credential_until_it_gets_a_new_one(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    change(fake, household, suspended=True)
    status = await look(fake, household)
    assert (status.shard, status.credential_expires, status.ready) == (S1, None, False)
    ready, reconciling, stalled = status.conditions
    assert (ready.reason, reconciling.status, stalled.status) == ("Suspended", "False", "False")
    assert (S1, household) in fake.broker.assigned, "what it sent before is still stored"
    assert household not in fake.homes.files
    assert fake.broker.revoked == {fake.broker.minted[0].user_key}
    change(fake, household)
    assert (await look(fake, household)).ready
    assert fake.broker.minted[1].user_key not in fake.broker.revoked


@pytest.mark.parametrize("how", [{"suspended": True}, {"deleted": True}], ids=["suspended", "deleted"])
async def test_a_credential_whose_home_file_was_taken_away_is_refused_as_well(
    fake: FakeWorld, household: HouseholdId, how: dict[str, bool]
) -> None:
    await born(fake, household)
    fake.homes.files.clear()
    assert (await look(fake, household)).ready
    first, second = (credential.user_key for credential in fake.broker.minted)
    assert fake.resources.household(household).status.credential_keys == [first, second]
    assert not fake.broker.revoked, "whoever took it away is not known, and an agent may still send with it"
    fake.homes.files.clear()
    change(fake, household, **how)
    with suppress(NotYet):
        await look(fake, household)
    assert fake.broker.revoked == {first, second}
    assert fake.resources.household(household).status.credential_keys == []


async def test_a_credential_of_an_outage_is_known_although_its_home_was_not_ready(
    fake: FakeWorld, household: HouseholdId
) -> None:
    fake.workloads.trouble = "WriterNotReady"
    fake.resources.add(wish(household))
    for _ in range(2):
        with pytest.raises(NotYet):
            await look(fake, household)
        fake.homes.files.clear()
    first, second = (credential.user_key for credential in fake.broker.minted)
    assert fake.resources.household(household).status.credential_keys == [first, second]


async def test_of_too_many_credentials_the_oldest_is_refused(fake: FakeWorld, household: HouseholdId) -> None:
    fake.resources.add(wish(household))
    for _ in range(17):
        status = await look(fake, household)
        fake.homes.files.clear()
    oldest, *others = (credential.user_key for credential in fake.broker.minted)
    assert (status.credential_keys, fake.broker.revoked) == (others, {oldest})


def test_a_household_is_erased_again_later_than_any_writer_waits_for_the_store_s_answer() -> None:
    assert ERASED_AGAIN_AFTER.total_seconds() > KNOWN_WITHIN_S + ASKED_WITHIN_S + ATTEMPT_WITHIN_S


async def test_a_deleted_household_leaves_is_drained_unassigned_erased_and_erased_again_later(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    fake.store.series.add(household)
    fake.broker.quarantined.add(household)
    change(fake, household, deleted=True)
    fake.calls.made.clear()
    with pytest.raises(NotYet) as caught:
        await look(fake, household)
    outside = [call for call in fake.calls.made if not call.startswith(("keep", "replace"))]
    assert outside == ["revoke", "remove home file", "leave", "unassign", "purge quarantine", "erase"]
    assert (caught.value.reason, caught.value.retry_in_s) == ("Erasing", ERASED_AGAIN_AFTER.total_seconds())
    fake.store.series.add(household)  # a late redelivery
    fake.broker.quarantined.add(household)
    fake.passes(ERASED_AGAIN_AFTER)
    with pytest.raises(NotYet, match="erased"):
        await look(fake, household)
    assert household not in fake.store.series | fake.broker.quarantined
    fake.passes(ERASED_AGAIN_AFTER)
    await look(fake, household)
    assert household not in fake.resources.kept
    assert not [name for name in fake.vault.texts if household in name]
    assert fake.news.told == [(household, "Erased", False)]


@pytest.mark.parametrize("policy", [ERASE, RETAIN])
async def test_a_household_leaves_when_nothing_from_before_waits_in_its_shard_any_more(
    fake: FakeWorld, household: HouseholdId, policy: dict[str, object]
) -> None:
    await born(fake, household)
    fake.broker.oldest = fake.broker.now - timedelta(seconds=20)
    change(fake, household, deleted=True, **policy)
    with pytest.raises(NotYet) as caught:
        await look(fake, household)
    assert (caught.value.reason, caught.value.message) == (
        "Draining",
        "readings of 14:59:40 UTC wait in its shard, and it left at 15:00:00",
    )
    assert (S1, household) in fake.broker.assigned, "what it sent is stored, not refused"
    fake.passes(timedelta(seconds=30))
    fake.broker.oldest = NOW + BROKER_AHEAD
    with pytest.raises(NotYet, match="wait in its shard"):
        await look(fake, household)
    fake.broker.oldest = NOW + BROKER_AHEAD + timedelta(microseconds=1)
    await ended(fake, household)
    assert not fake.broker.assigned


async def ended(fake: FakeWorld, household: HouseholdId) -> None:
    """Looks until the household is let go."""
    for _ in range(3):
        try:
            await look(fake, household)
        except NotYet as error:
            fake.passes(timedelta(seconds=error.retry_in_s))
        else:
            break
    assert household not in fake.resources.kept


async def test_readings_that_are_retained_are_all_stored_and_none_is_erased(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    fake.store.series.add(household)
    fake.broker.quarantined.add(household)
    change(fake, household, deleted=True, **RETAIN)
    await ended(fake, household)
    assert household in fake.store.series & fake.broker.quarantined
    assert not fake.broker.assigned


async def test_a_store_that_is_away_keeps_a_household_from_leaving_and_says_so(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    fake.broker.oldest, fake.store.answers = fake.broker.now, False
    change(fake, household, deleted=True)
    with pytest.raises(NotYet) as caught:
        await look(fake, household)
    assert caught.value.reason == "StoreNotReady"
    fake.broker.oldest, fake.store.answers = None, True
    await ended(fake, household)


async def test_a_household_that_is_wished_for_again_before_it_has_left_stays(
    fake: FakeWorld, household: HouseholdId
) -> None:
    await born(fake, household)
    fake.broker.oldest = fake.broker.now
    change(fake, household, deleted=True)
    with pytest.raises(NotYet, match="wait in its shard"):
        await look(fake, household)
    change(fake, household)
    assert (await look(fake, household)).ready
    assert not fake.broker.left


async def test_a_household_that_was_never_placed_ends_without_a_trace(fake: FakeWorld, household: HouseholdId) -> None:
    fake.resources.add(wish(household, deleted=True))
    await look(fake, household)
    assert fake.calls.made == ["finish"]


Broken = Callable[[FakeWorld], None]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda fake: fake.resources.kept.clear(), "NoShardHasRoom"),
        (lambda fake: fake.resources.add(shard(region="elsewhere")), "NoShardHasRoom"),
        (lambda fake: fake.resources.add(shard(acceptNewHouseholds=False)), "NoShardHasRoom"),
        (lambda fake: fake.resources.shards()[0].status.edge_urls.clear(), "ShardNotReady"),
        (lambda fake: setattr(fake.store, "answers", False), "StoreNotReady"),
        (lambda fake: setattr(fake.workloads, "trouble", "IngestNotReady"), "IngestNotReady"),
        (lambda fake: setattr(fake.workloads, "trouble", "WriterNotReady"), "WriterNotReady"),
        (lambda fake: setattr(fake.workloads, "trouble", "ReaderNotReady"), "ReaderNotReady"),
    ],
)
async def test_a_household_is_not_ready_while_a_part_of_its_way_is_not(
    fake: FakeWorld, household: HouseholdId, broken: Broken, reason: str
) -> None:
    broken(fake)
    with pytest.raises(NotYet) as caught:
        await born(fake, household)
    assert caught.value.reason == reason


async def test_a_household_whose_shard_is_gone_needs_help(fake: FakeWorld, household: HouseholdId) -> None:
    fake.resources.add(placed(wish(household), ShardId("s9")))
    with pytest.raises(Refused) as caught:
        await look(fake, household)
    assert caught.value.reason == "ShardMissing"


async def test_a_full_shard_takes_no_more_and_keeps_what_it_has(fake: FakeWorld, household: HouseholdId) -> None:
    fake.resources.add(shard(capacity=1))
    await born(fake, household)
    other = HouseholdId("hzzzzzzzzzzzzzzzzzzzz")
    with pytest.raises(NotYet, match="has room"):
        await born(fake, other)
    assert (await look(fake, household)).ready


async def test_conditions_say_since_when_and_for_which_generation(fake: FakeWorld, household: HouseholdId) -> None:
    first = await born(fake, household)
    fake.passes(timedelta(minutes=5))
    assert (await look(fake, household)).conditions == first.conditions
    resource = fake.resources.household(household)
    newer = resource.model_copy(update={"metadata": resource.metadata.model_copy(update={"generation": 7})})
    fake.resources.add(newer)
    status = await look(fake, household)
    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert (status.observed_generation, ready.observed_generation, ready.last_transition_time) == (7, 7, NOW)


def test_the_example_is_a_household() -> None:
    example = Path(__file__).parents[1] / "examples" / "household.yaml"
    assert Household.model_validate(yaml.safe_load(example.read_text())).spec.time_zone == "Europe/Paris"
