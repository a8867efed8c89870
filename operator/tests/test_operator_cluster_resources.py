"""What the operator remembers of custom resources, from what a watch tells; no API server is asked here."""

from typing import Any, cast

from lightkube import AsyncClient
from wattfleet_operator.adapters.cluster_resources import ClusterResources
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.shard import ShardId

S1 = ShardId("s1")


def told(household: HouseholdId, version: int, **spec: object) -> dict[str, Any]:
    """A household on `S1`, as a watch tells of it."""
    return {
        "metadata": {"name": household, "uid": "u", "resourceVersion": str(version)},
        "spec": spec,
        "status": {"shard": S1, "sendPhaseMs": 700},
    }


def test_one_that_cannot_be_read_is_carried_all_the_same() -> None:
    """Else its shard would seem to be empty, and could go."""
    resources, household = ClusterResources(cast(AsyncClient, None)), mint_household_id()
    resources.saw("Household", None, told(household, 1, timeZone="Middle/Earth"))
    assert resources.household(household) is None
    assert resources.phases(S1) == {700: 1}
    resources.saw("Household", "MODIFIED", told(household, 2, timeZone="Europe/Paris"))
    assert resources.household(household) is not None
    assert resources.phases(S1) == {700: 1}
    resources.saw("Household", "DELETED", told(household, 3))
    assert sum(resources.phases(S1).values()) == 0


def test_an_event_that_is_no_newer_than_what_is_known_changes_nothing() -> None:
    resources, household = ClusterResources(cast(AsyncClient, None)), mint_household_id()
    resources.saw("Household", "MODIFIED", told(household, 2, suspended=True))
    assert resources.changed()
    for version in (1, 2):
        resources.saw("Household", "MODIFIED", told(household, version))
    assert not resources.changed()
    known = resources.household(household)
    assert known is not None
    assert known.spec.suspended
