"""The loop over a real folder of resources and a world in memory: who is looked at, and what it reports."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from operator_fakes import NOW, S1, FakeWorld, shard, wish
from prometheus_client import REGISTRY
from wattfleet_operator.adapters.folder_resources import FolderResources
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.household import ERASED_AGAIN_AFTER
from wattfleet_operator.loop import Loop
from wattfleet_operator.ports import StoreUrls
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import ConditionType, Household, HouseholdSpec, Metadata, Shard
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.placement import Place
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.waiting import eventually


class Fleet:
    """A running loop, the folder that it looks at, and the world that it changes."""

    def __init__(self, root: Path) -> None:
        self.fake = FakeWorld()
        self.folder = ResourceFolder(root)
        self.folder.apply(shard())
        fake = self.fake
        resources = FolderResources(self.folder)
        self.world = replace(fake.world, resources=resources)
        self.loop = Loop(self.world)

    def reason(self, resource: Household | Shard | None) -> str | None:
        condition = resource.status.condition(ConditionType.READY) if resource else None
        return condition.reason if condition else None

    async def household_is(self, household: HouseholdId, reason: str) -> None:
        await eventually(lambda: self.reason(self.folder.household(household)) == reason, 10, reason)

    async def shard_is(self, reason: str) -> None:
        await eventually(lambda: self.reason(self.folder.shard(S1)) == reason, 10, reason)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path / "fleet")
    running = asyncio.create_task(fleet.loop.run())
    yield fleet
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_new_file_becomes_a_ready_household(fleet: Fleet, household: HouseholdId) -> None:
    fleet.folder.apply(wish(household))
    await fleet.household_is(household, "Ready")
    resource = fleet.folder.household(household)
    assert resource is not None
    assert (resource.status.shard, resource.status.observed_generation) == (S1, 1)


async def test_what_is_broken_hides_nobody_else(fleet: Fleet, household: HouseholdId) -> None:
    (fleet.folder.root / "households").mkdir(parents=True)
    (fleet.folder.root / "households" / "hbroken.yaml").write_text("{ not yaml")
    other = mint_household_id()
    place = fleet.fake.broker.assign

    async def assign(shard_id: object, wanted: HouseholdId, quota: Quota) -> None:
        if wanted == other:
            raise RuntimeError("the seed is SECRET")
        await place(S1, wanted, quota)

    fleet.fake.broker.assign = assign  # type: ignore[method-assign, assignment]
    fleet.folder.apply(wish(other))
    fleet.folder.apply(wish(household))
    await fleet.household_is(household, "Ready")
    await fleet.household_is(other, "UnexpectedError")
    assert "SECRET" not in (fleet.folder.root / "status" / "households" / f"{other}.yaml").read_text()
    fleet.fake.broker.assign = place  # type: ignore[method-assign]
    await fleet.household_is(other, "Ready")


async def test_a_part_that_fails_is_reported_and_its_return_too(fleet: Fleet, household: HouseholdId) -> None:
    fleet.folder.apply(wish(household))
    await fleet.household_is(household, "Ready")
    fleet.fake.workloads.trouble = "WriterNotReady"
    fleet.loop.wake()
    await fleet.shard_is("WriterNotReady")
    await fleet.household_is(household, "WriterNotReady")
    resource = fleet.folder.household(household)
    assert resource is not None
    assert resource.status.shard == S1, "what was recorded is not forgotten"
    fleet.fake.workloads.trouble = None
    fleet.loop.wake()
    await fleet.household_is(household, "Ready")


async def test_a_wish_that_cannot_be_fulfilled_is_stalled(fleet: Fleet) -> None:
    async def refuse(wished: Shard, store: StoreUrls) -> str:
        raise Refused("NeedsACluster", "one each")

    fleet.fake.workloads.ensure = refuse  # type: ignore[method-assign]
    fleet.folder.apply(shard(capacity=5))
    await fleet.shard_is("NeedsACluster")
    resource = fleet.folder.shard(S1)
    assert resource is not None
    stalled = resource.status.condition(ConditionType.STALLED)
    assert stalled is not None
    assert stalled.status == "True"
    fleet.loop.wake()
    await eventually(lambda: fleet.fake.news.told == [(S1, "NeedsACluster", True)], 10, "the admin is told")


async def test_an_admin_hears_of_a_shard_that_breaks_and_not_of_its_households(
    fleet: Fleet, household: HouseholdId
) -> None:
    fleet.folder.apply(wish(household))
    await fleet.household_is(household, "Ready")
    fleet.fake.workloads.trouble = "WriterNotReady"
    for _ in range(2):
        fleet.loop.wake()
        await fleet.shard_is("WriterNotReady")
        await fleet.household_is(household, "WriterNotReady")
    await eventually(lambda: fleet.fake.news.told, 10, "the admin is told")
    assert fleet.fake.news.told == [(S1, "WriterNotReady", True)]


async def test_a_deleted_household_leaves_no_file(fleet: Fleet, household: HouseholdId) -> None:
    fleet.folder.apply(wish(household))
    await fleet.household_is(household, "Ready")
    fleet.folder.apply(wish(household, deleted=True))
    await fleet.household_is(household, "Erasing")
    fleet.fake.passes(ERASED_AGAIN_AFTER)
    fleet.loop.wake()
    files = fleet.folder.root
    await eventually(lambda: not list(files.rglob(f"*{household}*")), 10, "no file of it is left")
    assert not fleet.fake.homes.files


async def test_a_household_whose_file_was_taken_away_is_cut_off_and_its_readings_kept(
    fleet: Fleet, household: HouseholdId
) -> None:
    fleet.folder.apply(wish(household))
    fleet.fake.store.series.add(household)
    await fleet.household_is(household, "Ready")
    (fleet.folder.root / "households" / f"{household}.yaml").unlink()
    await eventually(lambda: not list(fleet.folder.root.rglob(f"*{household}*")), 10, "it is let go")
    assert fleet.fake.broker.revoked
    assert household in fleet.fake.store.series


async def test_a_household_that_waits_is_looked_at_again_when_its_time_has_come(
    fleet: Fleet, household: HouseholdId, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked: list[HouseholdId] = []
    assign = fleet.fake.broker.assign

    async def not_yet(shard_id: object, wanted: HouseholdId, quota: Quota) -> None:
        asked.append(wanted)
        if len(asked) < 3:
            raise NotYet("BrokerUnavailable", retry_in_s=0.1)
        await assign(S1, wanted, quota)

    fleet.fake.broker.assign = not_yet  # type: ignore[method-assign, assignment]
    fleet.folder.apply(wish(household))
    await fleet.household_is(household, "Ready")
    assert len(asked) >= 3
    assert [record.message for record in caplog.records].count("not yet") == 1, "the log says it once"


async def test_what_is_touched_while_it_is_looked_at_is_looked_at_once_more(household: HouseholdId) -> None:
    fake, looks = FakeWorld(), 0
    fake.resources.add(wish(household))
    loop, assign = Loop(fake.world), fake.broker.assign

    async def assigned(shard_id: ShardId, wanted: HouseholdId, quota: Quota) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            loop.touch("Household", wanted)
        await assign(shard_id, wanted, quota)

    fake.broker.assign = assigned  # type: ignore[method-assign]
    for _ in range(4):
        await loop.look()
    assert looks == 2


async def test_what_vanished_keeps_the_loop_from_its_rest_no_more(household: HouseholdId) -> None:
    """Whoever takes the finalizer away lets a household go unseen."""
    fake = FakeWorld()
    fake.resources.add(wish(household))
    loop = Loop(fake.world, {"Shard": 0.0, "Household": 0.0})
    due = partial(REGISTRY.get_sample_value, "wattfleet_operator_due_resources")
    await loop.look()
    await loop.look()
    assert due() == 2, "it and its shard"
    fake.resources.kept.pop(household)
    await loop.look()
    await loop.look()
    assert due() == 1


def test_deleting_is_a_wish_like_any_other(tmp_path: Path, household: HouseholdId) -> None:
    folder = ResourceFolder(tmp_path)
    deleted = wish(household).model_copy(update={"metadata": Metadata(name=household, deletion_timestamp=NOW)})
    folder.apply(deleted)
    (resource,) = FolderResources(folder).households()
    assert resource.metadata.deletion_timestamp == NOW


async def test_who_is_carried_is_known_without_reading_all_files_at_each_birth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looks = ResourceFolder(tmp_path), 0
    homes = [wish(mint_household_id()) for _ in range(20)]
    for home in homes:
        folder.apply(home)
    resources, households = FolderResources(folder), folder.households

    def counted() -> Iterator[Household]:
        nonlocal looks
        looks += 1
        return households()

    monkeypatch.setattr(folder, "households", counted)
    for turn, home in enumerate(homes):
        assert sum(resources.phases(S1).values()) == turn
        await resources.place(home, Place(S1, turn * 100))
    await resources.place(homes[0], Place(S1, 5000))
    await resources.finish(homes[1])
    assert looks == 1
    remembered = {phase_ms: count for phase_ms, count in resources.phases(S1).items() if count}
    assert remembered == {5000: 1, **{turn * 100: 1 for turn in range(2, 20)}}
    resources.households()
    assert resources.phases(S1) == remembered, "the files say the same"
    assert resources.phases(ShardId("s2")) == {}


async def test_a_minute_s_births_share_the_minute(fleet: Fleet) -> None:
    homes = [mint_household_id() for _ in range(30)]
    for home in homes:
        fleet.folder.apply(wish(home))
    for home in homes:
        await fleet.household_is(home, "Ready")
    seconds = {
        resource.status.send_phase_ms // 1000
        for home in homes
        if (resource := fleet.folder.household(home)) and resource.status.send_phase_ms is not None
    }
    assert len(seconds) == len(homes)


async def test_one_that_has_changed_does_not_wait_behind_hundreds_that_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWorld()
    homes = [wish(mint_household_id()) for _ in range(300)]
    for home in homes:
        fake.resources.add(home)
    loop = Loop(fake.world)
    while await loop.look():
        pass
    later_s = time.monotonic() + 3600
    monkeypatch.setattr("wattfleet_operator.loop.monotonic", lambda: later_s)
    last = fake.resources.household(homes[-1].id)
    fake.resources.add(last.model_copy(update={"spec": HouseholdSpec(suspended=True)}))
    assert await loop.look(), "not all of them are looked at at once"
    ready = fake.resources.household(last.id).status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.reason == "Suspended"
    assert not await loop.look(), "the others follow"


async def test_all_have_their_turn_however_often_they_are_woken() -> None:
    fake = FakeWorld()
    homes = {home.id: home for home in (wish(mint_household_id(), suspended=True) for _ in range(600))}
    for home in homes.values():
        fake.resources.add(home)
    looked, assign = set[HouseholdId](), fake.broker.assign

    async def assigned(shard_id: ShardId, household: HouseholdId, quota: Quota) -> None:
        looked.add(household)
        loop.wake()
        await assign(shard_id, household, quota)

    loop = Loop(fake.world)
    while await loop.look():
        pass
    fake.broker.assign = assigned  # type: ignore[method-assign]
    running = asyncio.create_task(loop.run())
    loop.wake()
    await eventually(lambda: looked == homes.keys(), 20, "everyone is looked at")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
