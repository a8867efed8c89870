"""Homes that an administrator deleted: said to be, not counted, forgotten after a week; and never one by mistake."""

import time

import pytest
from gateway_running import Serving
from sqlmodel import Session, select
from wattfleet_gateway.fleet import FleetUnavailable, Placement
from wattfleet_gateway.gone_homes import FORGOTTEN_AFTER_S, GoneHomes
from wattfleet_gateway.store import HouseholdRow, Sighting
from wattfleet_tenants.household import HouseholdId

HOMES = "/api/v1/households"
HOUSE = {"name": "Our house", "time_zone": "Europe/London"}
MOST = 5

pytestmark = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def later(gateway: Serving, seconds: float = 0) -> GoneHomes:
    """The gateway's look at homes that are gone, as of another moment."""
    return GoneHomes(gateway.parts.store, gateway.fleet, lambda: time.time() + seconds)


def remembered(gateway: Serving) -> set[str]:
    with Session(gateway.parts.store.engine) as session:
        return {row.id for row in session.exec(select(HouseholdRow))}


def since(gateway: Serving, household: HouseholdId) -> int | None:
    with Session(gateway.parts.store.engine) as session:
        return session.get_one(Sighting, household).missed_since_s


async def seen_home(gateway: Serving, subject: str = "alice") -> HouseholdId:
    home = gateway.home_of(subject)
    await later(gateway).look()
    return home


async def test_a_deleted_home_is_said_to_be_and_forgotten_after_a_week(gateway: Serving) -> None:
    home, kept = await seen_home(gateway), await seen_home(gateway)
    alice = await gateway.signed_in()
    gateway.fleet.placements[home] = Placement()
    await later(gateway).look()
    seen = {one["id"]: one for one in (await alice.get(HOMES)).json()}
    assert (seen[home]["reason"], seen[home]["ready"], seen[home]["placed"]) == ("Deleted", False, False)
    assert seen[kept]["ready"]
    answer = await alice.get(f"{HOMES}/{home}/readings/now")
    assert (answer.status_code, answer.json()["detail"]) == (410, "This home was deleted by an administrator.")
    await later(gateway, FORGOTTEN_AFTER_S - 60).look()
    assert remembered(gateway) == {home, kept}
    await later(gateway, FORGOTTEN_AFTER_S + 60).look()
    assert remembered(gateway) == {kept}
    assert (await alice.get(f"{HOMES}/{home}")).status_code == 404


async def test_a_deleted_home_makes_room_for_another_and_no_other_does(gateway: Serving) -> None:
    homes = [await seen_home(gateway) for _ in range(MOST)]
    alice = await gateway.signed_in()
    assert (await alice.post(HOMES, json=HOUSE)).status_code == 409
    gateway.fleet.placements[homes[0]] = Placement()
    assert (await alice.post(HOMES, json=HOUSE)).status_code == 409, "not before it was looked for"
    await later(gateway).look()
    assert (await alice.get("/api/v1/viewer")).json()["may_add_home"]
    assert (await alice.post(HOMES, json=HOUSE)).status_code == 201
    assert (await alice.post(HOMES, json=HOUSE)).status_code == 409


async def test_a_fleet_that_does_not_answer_loses_nobody_a_home(gateway: Serving) -> None:
    home = await seen_home(gateway)
    gateway.fleet.placements[home] = Placement()
    gateway.fleet.error = FleetUnavailable("nobody there")
    await later(gateway).look()
    await later(gateway, 2 * FORGOTTEN_AFTER_S).look()
    assert since(gateway, home) is None
    assert remembered(gateway) == {home}


async def test_a_home_that_comes_back_is_as_it_was_and_its_time_begins_anew(gateway: Serving) -> None:
    home = await seen_home(gateway)
    placed = gateway.fleet.placements.pop(home)
    gateway.fleet.placements[home] = Placement()
    await later(gateway).look()
    gateway.fleet.placements[home] = placed
    await later(gateway, 2 * FORGOTTEN_AFTER_S).look()
    assert (since(gateway, home), remembered(gateway)) == (None, {home})
    gateway.fleet.placements[home] = Placement()
    await later(gateway, 2 * FORGOTTEN_AFTER_S).look()
    assert remembered(gateway) == {home}


async def test_a_wish_that_is_not_carried_out_yet_counts_and_is_no_deleted_home(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    gateway.fleet.placements.default_factory = Placement
    gateway.fleet.error = FleetUnavailable("nobody there")
    answers = [await alice.post(HOMES, json=HOUSE) for _ in range(MOST + 1)]
    assert [answer.status_code for answer in answers] == [201] * MOST + [409]
    gateway.fleet.error = None
    await later(gateway).look()
    await later(gateway, 2 * FORGOTTEN_AFTER_S).look()
    assert len(remembered(gateway)) == MOST
    assert {one["reason"] for one in (await alice.get(HOMES)).json()} == {"Unknown"}
    assert (await alice.post(HOMES, json=HOUSE)).status_code == 409


async def test_a_home_that_was_made_and_deleted_between_two_looks_is_missed(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    home = (await alice.post(HOMES, json=HOUSE)).json()["id"]
    gateway.fleet.placements[home] = Placement()
    await later(gateway).look()
    assert (await alice.get(f"{HOMES}/{home}")).json()["reason"] == "Deleted"


async def test_a_home_that_the_fleet_never_had_waits_for_it(gateway: Serving) -> None:
    gateway.fleet.placements.default_factory = Placement
    home = gateway.home_of("alice")
    await later(gateway).look()
    await later(gateway, 2 * FORGOTTEN_AFTER_S).look()
    assert remembered(gateway) == {home}
