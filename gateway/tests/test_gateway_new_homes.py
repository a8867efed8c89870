"""Homes that people add: theirs and nobody else's, never too many, and never made without an owner."""

import asyncio
import time
from dataclasses import replace

import httpx2
import pytest
from gateway_fakes import FakeFleet
from gateway_running import Serving
from sqlalchemy import text
from sqlmodel import Session, select
from starlette.testclient import TestClient
from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.fleet import FleetRefuses, FleetUnavailable, Placement
from wattfleet_gateway.new_homes import LEFT_ALONE_S, NewHomes
from wattfleet_gateway.settings import Settings
from wattfleet_gateway.store import HouseholdRow, Wish
from wattfleet_tenants.household import parse_household_id

HOMES = "/api/v1/households"
HOUSE = {"name": "Our house", "time_zone": "Europe/London"}
MOST = 5
on_each_database = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def remembered(gateway: Serving) -> list[str]:
    with Session(gateway.parts.store.engine) as session:
        return [row.id for row in session.exec(select(HouseholdRow))]


def wished(gateway: Serving) -> list[str]:
    with Session(gateway.parts.store.engine) as session:
        return [row.household_id for row in session.exec(select(Wish))]


def later(gateway: Serving, seconds: float) -> NewHomes:
    """The gateway's new homes, as of another moment; such as those of a gateway that was started again."""
    parts = gateway.parts
    return NewHomes(parts.store, gateway.fleet, parts.settings.region, MOST, lambda: time.time() + seconds)


async def add(browser: httpx2.AsyncClient, **changed: object) -> httpx2.Response:
    return await browser.post(HOMES, json={**HOUSE, **changed})


@on_each_database
async def test_a_home_that_is_added_belongs_to_whoever_added_it_alone(gateway: Serving) -> None:
    alice, bob = await gateway.signed_in("alice"), await gateway.signed_in("bob", "Bob")
    answer = await add(alice)
    assert answer.status_code == 201
    home = answer.json()
    assert (home["name"], home["ready"], home["reason"]) == ("Our house", True, "Ready")
    assert gateway.fleet.asked == [(parse_household_id(home["id"]), "Europe/London", "local")]
    assert answer.headers["location"] == f"{HOMES}/{home['id']}"
    assert (await alice.get(answer.headers["location"])).json() == home
    assert (await bob.get(answer.headers["location"])).status_code == 404
    assert (await bob.get(HOMES)).json() == []
    assert wished(gateway) == []


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}])
async def test_another_site_cannot_add_a_home_with_somebodys_cookie(gateway: Serving, headers: dict[str, str]) -> None:
    alice = await gateway.signed_in()
    del alice.headers["Origin"]
    answer = await alice.post(HOMES, json=HOUSE, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert gateway.fleet.asked == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_elsewhere_could_send_is_no_home(gateway: Serving, kind: str) -> None:
    alice = await gateway.signed_in()
    answer = await alice.post(HOMES, content='{"name": "x", "time_zone": "UTC"}', headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert remembered(gateway) == []


async def test_nobody_adds_a_home_without_signing_in(gateway: Serving) -> None:
    stranger = await gateway.browser()
    stranger.cookies.set("wattfleet_session", "a cookie of long ago")
    assert (await add(stranger)).status_code == 401
    assert remembered(gateway) == []


@pytest.mark.parametrize(
    "changed",
    [
        *({"name": name} for name in ("", "   ", "x" * 61, "a\nb", "right\u202eleft", "nul\0", 7, None, ["x"])),
        *({"time_zone": zone} for zone in ("", "Mars/Olympus", "../../etc/passwd", "+01:00", "europe/london", 7, None)),
    ],
    ids=repr,
)
async def test_silly_names_and_unknown_time_zones_are_refused(gateway: Serving, changed: dict[str, object]) -> None:
    answer = await add(await gateway.signed_in(), **changed)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert remembered(gateway) == []
    assert gateway.fleet.asked == []


async def test_an_id_cannot_be_chosen(gateway: Serving) -> None:
    theirs = gateway.home_of("bob", "Bob's farm")
    alice = await gateway.signed_in()
    added = await add(alice, id=theirs, household_id=theirs, region="elsewhere", user_id=1)
    assert added.json()["id"] != theirs
    assert gateway.fleet.asked[0][2] == "local"
    assert [home["name"] for home in (await alice.get(HOMES)).json()] == ["Our house"]


async def test_a_person_has_so_many_homes_and_no_more(gateway: Serving) -> None:
    alice, bob = await gateway.signed_in("alice"), await gateway.signed_in("bob", "Bob")
    gateway.home_of("alice", "From before")
    for _ in range(MOST - 1):
        assert (await alice.get("/api/v1/viewer")).json()["may_add_home"]
        assert (await add(alice)).status_code == 201
    answer = await add(alice)
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "as many homes as one person may have here (5)" in answer.json()["detail"]
    assert not (await alice.get("/api/v1/viewer")).json()["may_add_home"]
    assert (await add(bob)).status_code == 201
    assert len(remembered(gateway)) == MOST + 1


@on_each_database
async def test_a_person_who_asks_many_times_at_once_gets_no_more(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    answers = await asyncio.gather(*[add(alice) for _ in range(4 * MOST)])
    assert sorted(answer.status_code for answer in answers) == [201] * MOST + [409] * 3 * MOST
    assert len(remembered(gateway)) == len(gateway.fleet.asked) == MOST


async def test_where_people_may_add_none_they_are_told_who_does(settings: Settings) -> None:
    app = create_app(replace(settings, homes_per_person=0), Ports(FakeFleet(), None, None))  # type: ignore[arg-type]
    parts = app.state.gateway
    cookie = parts.sessions.start(parts.store.ensure_user(settings.oidc.issuer, "alice"), "")
    with TestClient(app, cookies={parts.cookies.session_name: cookie}) as client:
        assert not client.get("/api/v1/viewer").json()["may_add_home"]
        answer = client.post(HOMES, json=HOUSE, headers={"Origin": settings.public_url})
    assert (answer.status_code, answer.json()["detail"]) == (409, "Homes are added by whoever runs Wattfleet for you.")


@on_each_database
async def test_while_the_fleet_is_away_a_home_is_remembered_and_made_when_it_is_back(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    gateway.fleet.error = FleetUnavailable("nobody there")
    gateway.fleet.placements.default_factory = Placement
    answer = await add(alice)
    home = answer.json()
    assert (answer.status_code, home["ready"], home["reason"]) == (201, False, "Unknown")
    assert [seen["id"] for seen in (await alice.get(HOMES)).json()] == [home["id"]]
    await later(gateway, LEFT_ALONE_S + 1).tell_again()
    assert wished(gateway) == [home["id"]], "it is not forgotten before the fleet has it"
    gateway.fleet.error = None
    await later(gateway, LEFT_ALONE_S + 1).tell_again()
    assert wished(gateway) == []
    assert set(gateway.fleet.asked) == {(home["id"], "Europe/London", "local")}
    await later(gateway, LEFT_ALONE_S + 1).tell_again()
    assert len(gateway.fleet.asked) == 3, "what the fleet has is not told again"


async def test_a_fleet_that_does_not_answer_keeps_nobody_waiting(
    gateway: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(gateway.fleet, "create", never)
    monkeypatch.setattr("wattfleet_gateway.new_homes._TOLD_WITHIN_S", 0.1)
    answer = await add(await gateway.signed_in())
    assert answer.status_code == 201
    assert wished(gateway) == [answer.json()["id"]]


@on_each_database
async def test_a_fleet_that_refuses_leaves_nothing_behind(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    gateway.fleet.error = FleetRefuses('Kubernetes: households is forbidden: User "system:serviceaccount:x"')
    answer = await add(alice)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "serviceaccount" not in answer.text
    assert remembered(gateway) == wished(gateway) == []
    assert (await alice.get(HOMES)).json() == []


@on_each_database
async def test_a_gateway_that_dies_before_the_fleet_is_told_leaves_a_home_with_an_owner(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    gateway.fleet.error = RuntimeError("as if the process had ended here")
    assert (await add(alice)).status_code == 500
    (home,) = (await alice.get(HOMES)).json()
    gateway.fleet.error = None
    await later(gateway, LEFT_ALONE_S - 1).tell_again()
    assert len(gateway.fleet.asked) == 1, "a wish that may still be under way is left alone"
    await later(gateway, LEFT_ALONE_S + 1).tell_again()
    assert gateway.fleet.asked[-1] == (home["id"], "Europe/London", "local")


@on_each_database
async def test_without_its_database_the_gateway_tells_the_fleet_nothing(gateway: Serving) -> None:
    alice = await gateway.signed_in()
    with gateway.parts.store.engine.begin() as broken:
        broken.execute(text("DROP TABLE wishes"))
    answer = await add(alice)
    assert (answer.status_code // 100, answer.headers["content-type"]) == (5, "application/problem+json")
    assert "wishes" not in answer.text
    assert gateway.fleet.asked == []
    assert remembered(gateway) == []
