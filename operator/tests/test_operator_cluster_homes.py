"""What a watch tells of Secrets is believed of those that are ours alone."""

import base64
from collections.abc import AsyncIterator
from functools import cache
from typing import Any, cast

import pytest
from lightkube.core.generic_client import ListAsyncIterable
from lightkube.resources.core_v1 import Secret
from wattfleet_operator.adapters.cluster_secrets import HOUSEHOLD_LABEL, ClusterHomes, secret_name
from wattfleet_operator.testing.contracts import some_home
from wattfleet_tenants.home_file import HomeFile, home_text
from wattfleet_tenants.household import HouseholdId, mint_household_id

ALICE, BOB = mint_household_id(), mint_household_id()


@cache
def home_of(household: HouseholdId) -> HomeFile:
    return some_home(household)


def secret(name: str, label: str, home: HomeFile, version: int) -> dict[str, Any]:
    data = {"home.json": base64.b64encode(home_text(home).encode()).decode()}
    metadata = {"name": name, "labels": {HOUSEHOLD_LABEL: label}, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": data}


@pytest.fixture
async def homes() -> ClusterHomes:
    homes = ClusterHomes(cast(Any, None), "wattfleet-system", cast(Any, None))
    assert homes.saw("ADDED", secret(secret_name(ALICE), ALICE, home_of(ALICE), 5)) == ALICE
    return homes


@pytest.mark.parametrize(
    "foreign",
    [
        secret("another-one", ALICE, home_of(BOB), 9),
        secret(secret_name(BOB), ALICE, home_of(BOB), 9),
        secret("another-one", "kitchen", home_of(BOB), 9),
        secret(secret_name(ALICE), ALICE, home_of(BOB), 4),
    ],
    ids=["a foreign Secret", "another home's", "a label that is no id", "an event that came late"],
)
@pytest.mark.parametrize("event", ["ADDED", "MODIFIED", "DELETED", None])
async def test_what_is_not_this_home_s_secret_changes_nothing(
    homes: ClusterHomes, event: str | None, foreign: dict[str, Any]
) -> None:
    assert homes.saw(event, foreign) is None
    assert await homes.read(ALICE) == home_of(ALICE)
    assert await homes.read(BOB) is None


async def test_another_household_s_home_in_this_one_s_secret_is_no_home(homes: ClusterHomes) -> None:
    assert homes.saw("MODIFIED", secret(secret_name(ALICE), ALICE, home_of(BOB), 9)) == ALICE
    assert await homes.read(ALICE) is None


class Lists:
    """An API server that lists these Secrets, as they were at `version`."""

    def __init__(self, version: int, *there: dict[str, Any]) -> None:
        self._version = version
        self._there = [Secret.from_dict(one) for one in there]

    def list(self, *_: object, **__: object) -> ListAsyncIterable[Secret]:
        async def chunks() -> AsyncIterator[tuple[str | None, list[Secret]]]:
            yield str(self._version), self._there

        return ListAsyncIterable(chunks())


@pytest.mark.parametrize(("version", "missed"), [(4, set()), (5, {ALICE}), (6, {ALICE})])
async def test_who_does_not_answer_is_forgotten_unless_it_came_after_the_roll(
    version: int, missed: set[HouseholdId]
) -> None:
    bob = secret(secret_name(BOB), BOB, home_of(BOB), 3)
    homes = ClusterHomes(cast(Any, Lists(version, bob)), "wattfleet-system", cast(Any, None))
    homes.saw("ADDED", bob)
    homes.saw("ADDED", secret(secret_name(ALICE), ALICE, home_of(ALICE), 5))
    assert await homes.call_roll() == missed
    assert (await homes.read(ALICE) is None) == bool(missed)
    assert await homes.read(BOB) == home_of(BOB)
