"""The gateway as the platform runs it: one process, told by its environment, ready when its door is open."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from gateway_process import get, program
from wattfleet_gateway.settings import WrongSettings, read_settings
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

SAID_WITHIN_S = 10


@pytest.fixture
def gateway(environment: dict[str, str], tmp_path: Path) -> Iterator[Program]:
    gateway = program(environment, tmp_path / "gateway.log")
    gateway.start()
    yield gateway
    gateway.kill()


def test_the_process_serves_while_the_provider_is_away_and_ends_when_told(
    gateway: Program, environment: dict[str, str]
) -> None:
    url = environment["WATTFLEET_PUBLIC_URL"]
    answer = get(f"{url}/api/v1/viewer")
    assert answer.status_code == 401
    assert "server" not in answer.headers
    assert get(f"{url}/auth/sign-in").status_code == 503
    health = f"http://127.0.0.1:{environment['WATTFLEET_HEALTH_PORT']}"
    assert get(f"{health}/healthz").status_code == 200
    metrics = get(f"{health}/metrics").text
    assert 'wattfleet_gateway_requests_total{method="GET",route="/viewer",status="401"} 1.0' in metrics
    assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert {line["process"] for line in lines} == {"gateway"}
    (line,) = [line for line in lines if line.get("path") == "/api/v1/viewer"]
    assert (line["status"], line["method"], line["message"]) == (401, "GET", "answered")


def test_a_port_that_is_taken_ends_a_second_gateway(
    gateway: Program, environment: dict[str, str], tmp_path: Path
) -> None:
    second = program({**environment, "WATTFLEET_HEALTH_PORT": str(free_port())}, tmp_path / "second.log")
    with pytest.raises(RuntimeError, match="address already in use"):
        second.start()


def test_a_gateway_whose_cluster_is_away_serves_and_says_what_it_waits_for(
    environment: dict[str, str], tmp_path: Path
) -> None:
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    in_a_cluster = {**environment, "WATTFLEET_FLEET": "cluster", "KUBECONFIG": str(tmp_path / "kubeconfig")}
    del in_a_cluster["WATTFLEET_FLEET_FOLDER"]
    troubles = f"http://127.0.0.1:{environment['WATTFLEET_HEALTH_PORT']}/readyz"

    def waits() -> bool:
        try:
            return list(get(troubles).json()["troubles"]) == ["fleet"]
        except httpx2.HTTPError:
            return False

    gateway = program(in_a_cluster, tmp_path / "gateway.log", waits)
    gateway.start()
    try:
        wait_until(lambda: "never listed" in get(troubles).text, SAID_WITHIN_S, "it says what it waits for")
        assert get(f"{environment['WATTFLEET_PUBLIC_URL']}/api/v1/viewer").status_code == 401
    finally:
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"WATTFLEET_FLEET_FOLDER": ""}, "set one of WATTFLEET_FLEET_FOLDER"),
        ({"WATTFLEET_FLEET": "cluster"}, "set one of WATTFLEET_FLEET_FOLDER"),
        ({"WATTFLEET_FLEET_FOLDER": "", "WATTFLEET_FLEET": "kubernetes"}, "WATTFLEET_FLEET=cluster"),
        ({"WATTFLEET_REGION": "Europe; DROP"}, "WATTFLEET_REGION must be the name of a region"),
        ({"WATTFLEET_HOMES_PER_PERSON": "-1"}, "WATTFLEET_HOMES_PER_PERSON must be a whole number"),
    ],
)
def test_where_the_fleet_is_must_be_said_once(environment: dict[str, str], said: dict[str, str], sentence: str) -> None:
    with pytest.raises(WrongSettings, match=sentence):
        read_settings({**environment, **said})


def test_a_fleet_in_a_cluster_and_what_people_may_add_are_settings(environment: dict[str, str]) -> None:
    said = {"WATTFLEET_FLEET": "cluster", "WATTFLEET_REGION": "eu-west", "WATTFLEET_HOMES_PER_PERSON": "0"}
    settings = read_settings({**environment, "WATTFLEET_FLEET_FOLDER": "", **said})
    assert (settings.fleet_folder, settings.region, settings.homes_per_person) == (None, "eu-west", 0)
    settings = read_settings(environment)
    assert (settings.fleet_folder is None, settings.region, settings.homes_per_person) == (False, "local", 5)
