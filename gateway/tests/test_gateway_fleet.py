"""What the gateway reads of the operator's reports."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from wattfleet_gateway.fleet import FolderFleet, Placement
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import (
    Condition,
    ConditionType,
    Household,
    HouseholdSpec,
    HouseholdStatus,
    Metadata,
    Shard,
    ShardSpec,
    ShardStatus,
)
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> ResourceFolder:
    return ResourceFolder(tmp_path)


def born(folder: ResourceFolder, household: HouseholdId) -> Household:
    resource = Household(metadata=Metadata(name=household), spec=HouseholdSpec(time_zone="Europe/Paris"))
    folder.apply(resource)
    return resource


def carried(folder: ResourceFolder, resource: Household) -> None:
    shard = Shard(metadata=Metadata(name="s1"), spec=ShardSpec(max_power_w=9000))
    folder.apply(shard)
    folder.report(shard, ShardStatus(edge_urls=["nats://edge"], reader_url="http://reader"))
    ready = Condition(
        type=ConditionType.READY,
        status="True",
        reason="ReadingsFlow",
        observed_generation=1,
        last_transition_time=datetime(2026, 11, 1, tzinfo=UTC),
    )
    folder.report(resource, HouseholdStatus(shard=ShardId("s1"), conditions=[ready]))


def test_a_household_that_the_fleet_does_not_have_is_not_ready(folder: ResourceFolder, household: HouseholdId) -> None:
    assert FolderFleet(folder).placement(household) == Placement(reason="Unknown")


def test_a_household_is_placed_once_the_operator_says_so(folder: ResourceFolder, household: HouseholdId) -> None:
    clock = Clock()
    fleet = FolderFleet(folder, clock)
    resource = born(folder, household)
    assert fleet.placement(household) == Placement("Europe/Paris", reason="NotReported")
    carried(folder, resource)
    assert not fleet.placement(household).ready, "statuses are remembered for a moment"
    clock.now_s += 2
    assert fleet.placement(household) == Placement(
        "Europe/Paris", True, "ReadingsFlow", ShardId("s1"), "http://reader", ("nats://edge",), 9000
    )


def test_a_file_that_cannot_be_read_is_one_homes_trouble_only(folder: ResourceFolder, household: HouseholdId) -> None:
    born(folder, household)
    (folder.root / "households" / f"{household}.yaml").write_text("nonsense: [")
    assert FolderFleet(folder).placement(household) == Placement(reason="Invalid")
