"""The fleet of one machine keeps what its port promises, the same as that of a cluster (e2e/tests)."""

from pathlib import Path

import pytest
from wattfleet_gateway.fleet import FleetUnavailable, Placement
from wattfleet_gateway.fleet_folder import FolderFleet
from wattfleet_gateway.testing import contracts
from wattfleet_gateway.testing.contracts import a_household, a_shard, is_so
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import Household, HouseholdSpec, HouseholdStatus, Shard, ShardStatus, Status
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId


class FolderResources:
    """What an admin and the operator write into a folder."""

    def __init__(self, folder: ResourceFolder) -> None:
        self._folder = folder

    async def apply(self, resource: Household | Shard) -> None:
        self._folder.apply(resource)

    async def report(self, resource: Household | Shard, status: Status) -> None:
        self._folder.report(resource, status)

    async def delete(self, resource: Household | Shard) -> None:
        self._folder.delete(resource)

    async def spoil(self, household: HouseholdId) -> None:
        (self._folder.root / "households" / f"{household}.yaml").write_text("nonsense: [")

    async def spec(self, household: HouseholdId) -> HouseholdSpec | None:
        found = self._folder.household(household)
        return found.spec if found else None


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> ResourceFolder:
    return ResourceFolder(tmp_path)


@pytest.fixture
def resources(folder: ResourceFolder) -> FolderResources:
    return FolderResources(folder)


async def test_a_folders_household_is_followed_from_birth_to_end(
    folder: ResourceFolder, resources: FolderResources
) -> None:
    await contracts.a_household_is_followed_from_birth_to_end(FolderFleet(folder), resources, a_shard("s1"))


async def test_a_household_is_created_in_the_folder_once(folder: ResourceFolder, resources: FolderResources) -> None:
    await contracts.a_household_is_created_once(FolderFleet(folder), resources)


async def test_a_file_that_cannot_be_read_is_one_homes_trouble_only(
    folder: ResourceFolder, resources: FolderResources
) -> None:
    await contracts.what_cannot_be_read_hides_nothing_else(FolderFleet(folder), resources)


async def test_a_folder_lacks_only_what_is_certainly_not_there(
    folder: ResourceFolder, resources: FolderResources
) -> None:
    await contracts.only_what_is_certainly_not_there_is_lacking(FolderFleet(folder), resources)


async def test_a_folder_that_is_not_there_lacks_nothing(folder: ResourceFolder, household: HouseholdId) -> None:
    with pytest.raises(FleetUnavailable):
        await FolderFleet(folder).lacks(household)


def test_the_folder_is_not_read_again_for_a_moment(folder: ResourceFolder) -> None:
    clock, home, shard = Clock(), a_household(), a_shard("s1")
    fleet = FolderFleet(folder, clock)
    folder.apply(home)
    assert fleet.placement(home.id) == Placement("Europe/Paris", reason="NotReported")
    folder.apply(shard)
    folder.report(shard, ShardStatus(edge_urls=["nats://edge"], reader_url="http://reader"))
    folder.report(home, HouseholdStatus(shard=ShardId("s1"), conditions=is_so(True, "Ready")))
    assert not fleet.placement(home.id).ready, "statuses are remembered for a moment"
    clock.now_s += 2
    assert fleet.placement(home.id) == Placement(
        "Europe/Paris", True, "Ready", ShardId("s1"), "http://reader", ("nats://edge",), 9000
    )


async def test_a_folder_that_takes_nothing_is_said_to_be_unavailable(tmp_path: Path, household: HouseholdId) -> None:
    (tmp_path / "households").write_text("not a folder")
    with pytest.raises(FleetUnavailable):
        await FolderFleet(ResourceFolder(tmp_path)).create(household, "Europe/Paris", "local")
