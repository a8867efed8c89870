"""What the operator remembers of custom resources, from what a watch tells; no API server is asked here."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube import AsyncClient
from wattfleet_operator.adapters.cluster_resources import PLACE, ClusterResources
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


def placed(annotation: str, status: dict[str, Any]) -> tuple[str | None, int | None]:
    """Where a household with this annotation and status is taken to be carried, and when it sends."""
    resources, household = ClusterResources(cast(AsyncClient, None)), mint_household_id()
    body = told(household, 1)
    body["metadata"]["annotations"], body["status"] = {PLACE: annotation.replace("SELF", household)}, status
    resources.saw("Household", None, body)
    known = resources.household(household)
    assert known is not None
    return known.status.shard, known.status.send_phase_ms


@pytest.mark.parametrize(
    ("status", "place"),
    [
        ({}, ("s1", 700)),
        ({"shard": "s1"}, ("s1", 700)),
        ({"shard": "s1", "sendPhaseMs": 900}, ("s1", 900)),
        ({"shard": "s2"}, ("s2", None)),
        ({"shard": "s2", "sendPhaseMs": 900}, ("s2", 900)),
    ],
)
def test_what_the_status_says_of_a_place_is_completed_and_never_changed(
    status: dict[str, Any], place: tuple[str, int | None]
) -> None:
    assert placed("SELF/s1/700", status) == place


NONSENSE = ["s1/60000", "s1/-1", "s1/7 ", "S1/7", "s1/٣", "s1/7/7", "/7", "s1/", "s1", "s.1/7", "s1/7\n"]


@given(st.text() | st.sampled_from([*NONSENSE, *(f"SELF/{one}" for one in NONSENSE)]))
def test_an_annotation_that_says_nonsense_says_nothing(annotation: str) -> None:
    assert placed(annotation, {}) == (None, None)


def test_a_household_made_of_another_ones_manifest_is_not_where_that_one_is() -> None:
    assert placed(f"{mint_household_id()}/s1/700", {}) == (None, None)
