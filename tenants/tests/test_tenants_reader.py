"""The reader over a real store: exact sums, local days, and not a byte without the gateway's grant."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from wattfleet_tenants import grants
from wattfleet_tenants.adapters.reader_client import ReaderClient
from wattfleet_tenants.adapters.victoriametrics import INSERT_PATH, VictoriaMetricsHistory
from wattfleet_tenants.answers import Refused, SocketNow
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ports import BadRequest, BucketRun, Unavailable
from wattfleet_tenants.reader.app import create_app
from wattfleet_tenants.reader.buckets import MAX_BUCKETS, edges_by_period
from wattfleet_tenants.reader.grants import verifier
from wattfleet_tenants.reading import INTERVAL_MS, MISSING
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer.render import Renderer

KEYS = grants.generate_signing_keys()
PARIS = ZoneInfo("Europe/Paris")
URL = "http://reader"
SOCKETS = 4


class NobodyRefused:
    async def refused(self, household: HouseholdId) -> list[Refused]:
        return [Refused(reason="future", count=2, last_ms=7)]


@dataclass
class Home:
    """A stored home. power_dw[i, j] is the reading of socket j + 1 for the minute at_ms[i]."""

    household: HouseholdId
    at_ms: NDArray[np.int64]
    power_dw: NDArray[np.int32]

    def sums(self, edges: list[int], socket: int) -> tuple[list[float | None], list[int]]:
        column = self.power_dw[:, socket - 1]
        sums: list[float | None] = []
        counts = []
        for start, end in pairwise(edges):
            inside = column[(self.at_ms >= start) & (self.at_ms < end)]
            inside = inside[inside != MISSING]
            sums.append(float(inside.sum(dtype=np.int64)) / 10 if len(inside) else None)
            counts.append(len(inside))
        return sums, counts


@pytest.fixture(scope="module")
def home(victoria_metrics: VictoriaMetrics) -> Home:
    """Two weeks around the end of summer time, with gaps: two hours without anything, a socket that is often silent."""
    household = mint_household_id()
    start = int(datetime(2026, 10, 18, tzinfo=PARIS).timestamp() * 1000)
    at_ms = np.arange(start, start + 14 * 24 * 60 * INTERVAL_MS, INTERVAL_MS, np.int64)
    chance = np.random.default_rng(7)
    power_dw = chance.integers(-250_000, 250_000, (len(at_ms), SOCKETS), np.int32)
    power_dw[chance.random(power_dw.shape) < [0, 0, 0, 0.7]] = MISSING
    there = np.ones(len(at_ms), bool)
    there[5000:5120] = False
    at_ms, power_dw = at_ms[there], power_dw[there]
    batch = PowerBatch(
        np.arange(len(at_ms)),
        np.full(len(at_ms), household.encode(), "S28"),
        np.ones(len(at_ms), np.uint32),
        at_ms.astype(np.uint64),
        power_dw,
        np.empty((len(at_ms), 0), np.int32),
    )
    insert(victoria_metrics, INSERT_PATH, bytes(Renderer(25_000).render(batch)))
    return Home(household, at_ms, power_dw)


def insert(store: VictoriaMetrics, path: str, body: bytes) -> None:
    httpx.post(f"{store.url}{path}", content=body).raise_for_status()
    httpx.get(f"{store.url}/internal/force_flush").raise_for_status()


@pytest.fixture
async def http(victoria_metrics: VictoriaMetrics) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as to_store:
        history = VictoriaMetricsHistory(to_store, victoria_metrics.url)
        app = create_app(history, NobodyRefused(), verifier(KEYS.public_pem))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
            yield client


def assert_same(found: list[float | None], expected: list[float | None]) -> None:
    assert [value is None for value in found] == [value is None for value in expected]
    assert np.abs(np.array(found, float) - np.array(expected, float))[~np.isnan(np.array(found, float))].max() < 1e-6


def grant(household: HouseholdId) -> str:
    return grants.sign(KEYS.private_pem, "reader", household, 30)


@pytest.fixture
def reader(http: httpx.AsyncClient) -> ReaderClient:
    return ReaderClient(http, grant)


@pytest.mark.parametrize("by", ["hour", "day", "month"])
async def test_energy_equals_the_sum_of_the_readings_through_the_end_of_summer_time(
    reader: ReaderClient, home: Home, by: str
) -> None:
    start, end = date(2026, 10, 20), date(2026, 11, 5)
    found = await reader.energy(URL, home.household, start, end, by, "Europe/Paris")  # type: ignore[arg-type]
    edges = edges_by_period(start, end, by, PARIS)  # type: ignore[arg-type]
    assert [*found.start_ms, found.end_ms[-1]] == edges
    assert [socket.number for socket in found.sockets] == [1, 2, 3, 4]
    for socket in found.sockets:
        sums, counts = home.sums(edges, socket.number)
        assert socket.count == counts
        assert_same(socket.sum_w, sums)


async def test_a_day_of_25_hours_has_1500_minutes(reader: ReaderClient, home: Home) -> None:
    found = await reader.energy(URL, home.household, date(2026, 10, 25), date(2026, 10, 26), "day", "Europe/Paris")
    assert found.sockets[0].count == [1500]


@pytest.mark.parametrize("step_s", [60, 900, 3600, 7 * 3600, 86400])
async def test_a_range_equals_the_sum_of_the_readings_at_any_step(
    reader: ReaderClient, home: Home, step_s: int
) -> None:
    start_ms = int(home.at_ms[4000])
    end_ms = start_ms + 100 * 3600 * 1000 + 30 * INTERVAL_MS
    found = await reader.range(URL, home.household, start_ms, end_ms, step_s)
    edges = [*found.start_ms, found.end_ms[-1]]
    assert (edges[0], edges[-1]) == (start_ms, end_ms)
    for socket in found.sockets:
        sums, counts = home.sums(edges, socket.number)
        assert socket.count == counts
        assert_same(socket.sum_w, sums)
    if step_s == 3600:
        assert None in found.sockets[0].sum_w, "an hour without readings has no value, not zero"


async def test_now_is_the_last_reading_of_each_socket(reader: ReaderClient, victoria_metrics: VictoriaMetrics) -> None:
    household = mint_household_id()
    minute_ms = int(time.time() // 60) * INTERVAL_MS
    samples = (
        (1, 12.3, minute_ms - INTERVAL_MS),
        (1, 45.6, minute_ms),
        (2, -7.8, minute_ms - 3600_000),
        (3, 9.0, minute_ms - 25 * 3600_000),
    )
    lines = [
        f'wattfleet_power_watts{{household="{household}",socket="{socket}"}} {value} {at_ms}'
        for socket, value, at_ms in samples
    ]
    insert(victoria_metrics, "/api/v1/import/prometheus", "\n".join(lines).encode())
    found = await reader.now(URL, household)
    assert found.sockets == [
        SocketNow(number=1, power_w=45.6, at_ms=minute_ms),
        SocketNow(number=2, power_w=-7.8, at_ms=minute_ms - 3600_000),
    ], "a socket that was silent for more than a day has no now"


async def test_a_home_without_readings_is_empty_and_no_error(reader: ReaderClient) -> None:
    household = mint_household_id()
    assert (await reader.now(URL, household)).sockets == []
    found = await reader.energy(URL, household, date(2026, 1, 1), date(2026, 1, 3), "day", "Etc/UTC")
    assert (len(found.start_ms), found.sockets) == (2, [])


async def test_what_was_refused_is_told(reader: ReaderClient, home: Home) -> None:
    assert await reader.refused(URL, home.household) == [Refused(reason="future", count=2, last_ms=7)]


PATHS = ("now", "range?start_ms=0&end_ms=60000&step_s=60", "energy?start=2026-10-20&end=2026-10-21&by=day&time_zone=Etc/UTC", "refused")  # fmt: skip  # noqa: E501


def bearers(home: Home) -> dict[str, str | None]:
    other = mint_household_id()
    foreign = grants.generate_signing_keys().private_pem
    return {
        "none": None,
        "empty": "",
        "nonsense": "Bearer abc",
        "another scheme": f"Basic {grant(home.household)}",
        "another household's": f"Bearer {grant(other)}",
        "an agent's": f"Bearer {grants.sign(KEYS.private_pem, 'agent', home.household, 30)}",
        "expired": f"Bearer {grants.sign(KEYS.private_pem, 'reader', home.household, 30, lambda: 1e9)}",
        "signed by another": f"Bearer {grants.sign(foreign, 'reader', home.household, 30)}",
    }


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_answered_without_a_grant_for_this_household(
    http: httpx.AsyncClient, home: Home, path: str
) -> None:
    for bearer in bearers(home).values():
        headers = {} if bearer is None else {"Authorization": bearer}
        answer = await http.get(f"/v1/households/{home.household}/{path}", headers=headers)
        assert answer.status_code == 401, bearer
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 401
    good = await http.get(
        f"/v1/households/{home.household}/{path}", headers={"Authorization": f"Bearer {grant(home.household)}"}
    )
    assert good.status_code == 200


def test_every_endpoint_asks_for_the_grant() -> None:
    app = create_app(None, None, lambda *_: None)  # type: ignore[arg-type]
    paths = app.openapi()["paths"]
    assert len(paths) == len(PATHS)
    assert all("{household_id}" in path for path in paths)
    assert all(operation["get"]["security"] for operation in paths.values())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("range?start_ms=0&end_ms=60000", "step_s"),
        ("range?start_ms=0&end_ms=60000&step_s=61", "multiple of 60"),
        ("range?start_ms=60000&end_ms=0&step_s=60", "before"),
        ("range?start_ms=0&end_ms=99999999999&step_s=60", "points"),
        ("range?start_ms=yesterday&end_ms=60000&step_s=60", "start_ms"),
        ("energy?start=2026-10-20&end=2026-10-19&by=day&time_zone=Etc/UTC", "before"),
        ("energy?start=2026-10-20&end=2026-10-21&by=week&time_zone=Etc/UTC", "by"),
        ("energy?start=2026-10-20&end=2026-10-21&by=day&time_zone=Mars/Olympus", "IANA"),
        ("energy?start=2026-13-20&end=2026-10-21&by=day&time_zone=Etc/UTC", "start"),
    ],
)
async def test_a_wrong_question_is_answered_with_what_is_wrong(
    http: httpx.AsyncClient, home: Home, path: str, says: str
) -> None:
    headers = {"Authorization": f"Bearer {grant(home.household)}"}
    answer = await http.get(f"/v1/households/{home.household}/{path}", headers=headers)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("name", ["*", "h1", "HOUSEHOLD0123456789012", 'h0123456789abcdef"} or {x="'])
async def test_a_name_that_is_no_household_id_is_refused(http: httpx.AsyncClient, name: str) -> None:
    token = grants.sign(KEYS.private_pem, "reader", HouseholdId(name), 30)
    answer = await http.get(f"/v1/households/{name}/now", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (401, 404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_errors_reach_the_gateway_as_the_two_of_the_ports(reader: ReaderClient, home: Home) -> None:
    with pytest.raises(BadRequest, match="multiple of 60"):
        await reader.range(URL, home.household, 0, 60_000, 7)
    async with httpx.AsyncClient() as nobody:
        with pytest.raises(Unavailable):
            await ReaderClient(nobody, grant).now("http://127.0.0.1:9", home.household)


async def test_a_store_that_is_away_is_said_openly_and_without_its_address(home: Home) -> None:
    async with httpx.AsyncClient() as to_store:
        app = create_app(
            VictoriaMetricsHistory(to_store, "http://127.0.0.1:9"), NobodyRefused(), verifier(KEYS.public_pem)
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
            headers = {"Authorization": f"Bearer {grant(home.household)}"}
            answer = await http.get(f"/v1/households/{home.household}/now", headers=headers)
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"<html>secret</html>", "json_invalid"),
        (b'{"status":"success","data":{"result":null}}', "data.result"),
        (
            b'{"data":{"result":[{"metric":{"socket":"1","is":"sum","secret":"x"}}]}}',
            "missing at 'data.result.0.values",
        ),
        (b'{"isPartial":true,"data":{"result":[]}}', "isPartial"),
    ],
)
async def test_what_the_store_does_not_say_whole_is_no_answer(answer: bytes, says: str) -> None:
    """The last one is that of a cluster of stores of which one is away: its readings must not look missing."""
    stub = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    async with httpx.AsyncClient(transport=stub) as to_store:
        with pytest.raises(Unavailable, match=says) as said:
            await VictoriaMetricsHistory(to_store, URL).sums(mint_household_id(), BucketRun(0, 60_000, 1))
    assert "secret" not in str(said.value)


async def test_once_one_query_fails_the_others_are_given_up(home: Home) -> None:
    began = 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal began
        began += 1
        await asyncio.sleep(0 if began == 1 else 3600)
        return httpx.Response(500)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as to_store:
        app = create_app(VictoriaMetricsHistory(to_store, URL), NobodyRefused(), verifier(KEYS.public_pem))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
            async with asyncio.timeout(10):
                with pytest.raises(Unavailable):
                    await ReaderClient(http, grant).range(URL, home.household, 0, MAX_BUCKETS * 60_000, 60)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert began <= 5


async def test_unknown_paths_are_problems_too(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
