"""The API: names beside numbers, nothing invented, and wrong questions told so."""

import csv
import io
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx2
import pytest
from gateway_running import Serving
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_gateway.api.export import harmless, render
from wattfleet_gateway.fleet import Placement
from wattfleet_gateway.readings import now_view, range_view
from wattfleet_tenants.answers import Buckets, Now, Refused, SocketBuckets, SocketNow
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import BadRequest, Unavailable

DAY = {"start": "2026-11-01T00:00:00+01:00", "end": "2026-11-02T00:00:00+01:00"}
MINUTE_MS = 60_000


async def test_a_home_shows_its_name_zone_and_state(gateway: Serving) -> None:
    home = gateway.home_of("alice", "Alice's house")
    waiting = gateway.home_of("alice", "Being set up")
    gateway.fleet.placements[waiting] = Placement(reason="NotPlaced")
    alice = await gateway.signed_in()
    assert (await alice.get("/api/v1/households")).json() == [
        {
            "id": home, "name": "Alice's house", "time_zone": "Europe/Paris", "ready": True, "reason": "Ready",
            "placed": True, "home_file_command": f"fetch {home}",
        },
        {
            "id": waiting, "name": "Being set up", "time_zone": "Etc/UTC", "ready": False, "reason": "NotPlaced",
            "placed": False, "home_file_command": f"fetch {waiting}",
        },
    ]  # fmt: skip
    assert (await alice.get(f"/api/v1/households/{home}")).json()["name"] == "Alice's house"


async def test_readings_of_a_home_that_is_not_placed_yet_are_said_to_come(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.fleet.placements[home] = Placement(reason="NotPlaced")
    answer = await (await gateway.signed_in()).get(f"/api/v1/households/{home}/readings/now")
    assert answer.status_code == 503
    assert "being set up" in answer.json()["detail"]


async def test_now_adds_up_what_is_online_and_nothing_else(gateway: Serving) -> None:
    home = gateway.home_of("alice", sockets=("Heat pump", "EV charger", "Never plugged in"))
    now_ms = int(time.time() * 1000)
    gateway.history.last[home] = [
        SocketNow(number=1, power_w=1200.5, at_ms=now_ms - MINUTE_MS),
        SocketNow(number=2, power_w=7000.0, at_ms=now_ms - 10 * MINUTE_MS),
        SocketNow(number=4, power_w=-300.25, at_ms=now_ms - 2 * MINUTE_MS),
    ]
    answer = (await (await gateway.signed_in()).get(f"/api/v1/households/{home}/readings/now")).json()
    assert (answer["power_w"], answer["at_ms"]) == (900.25, now_ms - MINUTE_MS)
    assert [(s["number"], s["name"], s["power_w"], s["state"]) for s in answer["sockets"]] == [
        (1, "Heat pump", 1200.5, "online"),
        (2, "EV charger", None, "offline"),
        (3, "Never plugged in", None, "silent"),
        (4, "Socket 4", -300.25, "online"),
    ]


def test_a_socket_is_online_for_less_than_five_minutes() -> None:
    now = Now(sockets=[SocketNow(number=1, power_w=1.0, at_ms=0)])
    assert now_view(now, {}, 5 * MINUTE_MS - 1).sockets[0].state == "online"
    assert now_view(now, {}, 5 * MINUTE_MS).sockets[0].state == "offline"
    assert now_view(Now(sockets=[]), {}, 0).power_w is None


def test_missing_stays_missing_and_measured_says_so() -> None:
    hour = 60 * MINUTE_MS
    buckets = Buckets(
        start_ms=[0, hour],
        end_ms=[hour, 2 * hour],
        sockets=[SocketBuckets(number=2, sum_w=[600.0, None], count=[30, 0])],
    )
    view = range_view(buckets, {1: "Silent"}, 3600)
    assert [(socket.name, socket.mean_power_w, socket.measured) for socket in view.sockets] == [
        ("Silent", [None, None], [0, 0]),
        ("Socket 2", [20.0, None], [0.5, 0]),
    ]


@given(st.integers(0, 10**13), st.integers(1, 10**8))
def test_measured_counts_the_minutes_that_begin_in_a_bucket(start_ms: int, length_ms: int) -> None:
    end_ms = start_ms + length_ms
    minutes = len(range(-(-start_ms // MINUTE_MS) * MINUTE_MS, end_ms, MINUTE_MS))
    buckets = Buckets(
        start_ms=[start_ms],
        end_ms=[end_ms],
        sockets=[SocketBuckets(number=1, sum_w=[1.0 if minutes else None], count=[minutes])],
    )
    (measured,) = range_view(buckets, {}, 60).sockets[0].measured
    assert measured == (1 if minutes else 0)


async def test_range_answers_mean_power_by_step(gateway: Serving) -> None:
    home = gateway.home_of("alice", sockets=("Fridge",))
    gateway.history.power_w[home] = {1: 80.0}
    path = f"/api/v1/households/{home}/readings/range"
    answer = (await (await gateway.signed_in()).get(path, params={**DAY, "step_s": 21600})).json()
    start_ms = int(datetime(2026, 10, 31, 23, tzinfo=UTC).timestamp() * 1000)
    assert answer["start_ms"] == [start_ms + step * 21_600_000 for step in range(4)]
    assert answer["sockets"] == [{"number": 1, "name": "Fridge", "mean_power_w": [80.0] * 4, "measured": [1.0] * 4}]


async def test_energy_is_asked_in_the_homes_own_zone(gateway: Serving) -> None:
    home = gateway.home_of("alice", sockets=("Fridge",))
    gateway.history.power_w[home] = {1: 80.0}
    path = f"/api/v1/households/{home}/readings/energy"
    query = {"start": "2026-11-01", "end": "2026-11-22", "by": "day"}
    answer = (await (await gateway.signed_in()).get(path, params=query)).json()
    assert (answer["by"], answer["time_zone"]) == ("day", "Europe/Paris")
    assert answer["sockets"] == [{"number": 1, "name": "Fridge", "energy_wh": [80.0], "measured": [1.0]}]
    assert gateway.history.asked[-1].time_zone == "Europe/Paris"


WRONG = [
    ("range", {**DAY, "step_s": "61"}),
    ("range", {**DAY, "step_s": "0"}),
    ("range", {**DAY, "step_s": "abc"}),
    ("range", {"start": DAY["end"], "end": DAY["start"], "step_s": "60"}),
    ("range", {"start": DAY["start"], "end": DAY["start"], "step_s": "60"}),
    ("range", {"start": "2026-11-01T00:00:00", "end": DAY["end"], "step_s": "60"}),
    ("range", {"start": "1793487600", "end": DAY["end"], "step_s": "60"}),
    ("range", {"start": "2026-11-31T00:00:00Z", "end": DAY["end"], "step_s": "60"}),
    ("range", {"start": "1969-01-01T00:00:00Z", "end": DAY["end"], "step_s": "86400"}),
    ("range", {"start": "2020-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z", "step_s": "86400"}),
    ("range", {"start": "2025-11-01T00:00:00Z", "end": "2026-11-01T00:00:00Z", "step_s": "60"}),
    ("range", {"step_s": "60"}),
    ("energy", {"start": "2026-11-01", "end": "2026-11-01", "by": "day"}),
    ("energy", {"start": "2026-11-01", "end": "2026-11-02", "by": "week"}),
    ("energy", {"start": "1", "end": "2026-11-02", "by": "day"}),
    ("energy", {"start": "2026-13-01", "end": "2027-11-02", "by": "day"}),
    ("export.csv", {**DAY, "step_s": "7"}),
    ("export.csv", {"start": "2020-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z", "step_s": "60"}),
]


async def test_a_wrong_question_is_answered_with_what_is_wrong(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    alice = await gateway.signed_in()
    for what, query in WRONG:
        answer = await alice.get(f"/api/v1/households/{home}/readings/{what}", params=query)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), (what, query)
        problem = answer.json()
        assert (problem["type"], problem["status"]) == ("about:blank", 422)
        assert problem["title"]
        assert problem["detail"]
    assert gateway.history.asked == []


@pytest.mark.parametrize(("error", "status"), [(BadRequest("too many buckets"), 422), (Unavailable("down"), 503)])
async def test_the_readers_errors_become_problems(gateway: Serving, error: Exception, status: int) -> None:
    home = gateway.home_of("alice")
    gateway.history.error = error
    answer = await (await gateway.signed_in()).get(f"/api/v1/households/{home}/readings/now")
    assert answer.status_code == status
    assert "down" not in answer.text


async def test_an_error_that_nobody_foresaw_shows_nothing_of_our_insides(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.history.error = RuntimeError("password=hunter2")
    answer = await (await gateway.signed_in()).get(f"/api/v1/households/{home}/readings/now")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "hunter2" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["detail"]


async def test_sockets_are_listed_and_renamed(gateway: Serving) -> None:
    home = gateway.home_of("alice", sockets=("Heat pump",))
    gateway.history.last[home] = [SocketNow(number=3, power_w=1.0, at_ms=0)]
    alice = await gateway.signed_in()
    path = f"/api/v1/households/{home}/sockets"
    assert (await alice.get(path)).json() == [{"number": 1, "name": "Heat pump"}, {"number": 3, "name": "Socket 3"}]
    assert (await alice.patch(f"{path}/3", json={"name": "  Cave à vin 🍷 "})).json() == {
        "number": 3,
        "name": "Cave à vin 🍷",
    }
    assert (await alice.get(path)).json()[1]["name"] == "Cave à vin 🍷"


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\nb", "right\u202eleft", "nul\0", 7, None])
async def test_a_name_that_is_none_is_refused(gateway: Serving, name: object) -> None:
    home = gateway.home_of("alice", sockets=("Heat pump",))
    answer = await (await gateway.signed_in()).patch(f"/api/v1/households/{home}/sockets/1", json={"name": name})
    assert answer.status_code == 422
    assert gateway.parts.store.socket_names(home) == {1: "Heat pump"}


@pytest.mark.parametrize("number", ["0", "65", "-1", "one", "1e1"])
async def test_a_number_that_no_socket_has_is_refused(gateway: Serving, number: str) -> None:
    home = gateway.home_of("alice")
    answer = await (await gateway.signed_in()).patch(f"/api/v1/households/{home}/sockets/{number}", json={"name": "x"})
    assert answer.status_code == 422


async def test_what_was_refused_is_said_openly(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.history.quarantined[home] = [Refused(reason="implausible-power", count=3, last_ms=1)]
    answer = await (await gateway.signed_in()).get(f"/api/v1/households/{home}/quarantine")
    assert answer.json() == [{"reason": "implausible-power", "count": 3, "last_ms": 1}]


async def exported(gateway: Serving, home: HouseholdId, **query: str) -> httpx2.Response:
    return await (await gateway.signed_in()).get(f"/api/v1/households/{home}/readings/export.csv", params=query)


async def test_an_export_is_whole_and_in_the_homes_own_time(gateway: Serving) -> None:
    home = gateway.home_of("alice", "Alice's house", sockets=("Heat pump", "=cmd|'/c calc'!A1"))
    gateway.history.power_w[home] = {1: 1500.0}
    night = {"start": "2026-10-24T22:00:00Z", "end": "2026-10-26T00:00:00Z", "step_s": "60"}
    answer = await exported(gateway, home, **night)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="wattfleet-alice-s-house-2026-10-24-2026-10-26.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0]) == ["time", "socket", "name", "mean_power_w", "measured"]
    assert len(rows) == 2 * 26 * 60
    times = [row["time"] for row in rows[::2]]
    assert (times[0], times[-1]) == ("2026-10-25T00:00:00+02:00", "2026-10-26T00:59:00+01:00")
    assert len(set(times)) == 26 * 60  # the hour that comes twice is told apart by its offset
    assert rows[0] == {
        "time": times[0], "socket": "1", "name": "Heat pump", "mean_power_w": "1500.000", "measured": "1",
    }  # fmt: skip
    assert (rows[1]["mean_power_w"], rows[1]["measured"], rows[1]["name"]) == ("", "0", "'=cmd|'/c calc'!A1")
    assert [question.what for question in gateway.history.asked] == ["range", "range"]


async def test_an_export_that_breaks_half_way_does_not_look_whole(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.history.fails_at_ms = int(datetime(2026, 11, 3, tzinfo=UTC).timestamp() * 1000)
    query = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-05T00:00:00Z", "step_s": "60"}
    with pytest.raises(httpx2.RemoteProtocolError):
        await exported(gateway, home, **query)


async def test_an_export_that_cannot_begin_is_a_problem(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.history.error = Unavailable("down")
    answer = await exported(gateway, home, **DAY)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


@given(st.text(max_size=30))
def test_no_name_is_a_formula_or_breaks_a_line(name: str) -> None:
    buckets = Buckets(start_ms=[0], end_ms=[60_000], sockets=[])
    text = render(range_view(buckets, {1: name}, 60), ZoneInfo("Etc/UTC"), with_header=False)
    (row,) = csv.reader(io.StringIO(text, newline=""))
    assert row[2] == harmless(name)
    assert not row[2].lstrip().startswith(("=", "+", "-", "@", "\t"))
