"""The gateway as the platform runs it: one process, told by its environment, ready when its door is open."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from gateway_provider import CLIENT_ID
from wattfleet_tenants.grants import SigningKeys
from wattfleet_tenants.testing.programs import Program, free_port


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, verify=False, timeout=5)


@pytest.fixture
def environment(tmp_path: Path, signing_keys: SigningKeys) -> dict[str, str]:
    for name, text in (("key", signing_keys.private_pem), ("secret", "s" * 48), ("client", "the client's secret")):
        (tmp_path / name).write_text(text)
    port = free_port()
    return {
        **os.environ,
        "WATTFLEET_PORT": str(port),
        "WATTFLEET_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WATTFLEET_DATABASE_URL": f"sqlite:///{tmp_path / 'data' / 'gateway.db'}",
        "WATTFLEET_OIDC_ISSUER": f"http://127.0.0.1:{free_port()}",
        "WATTFLEET_OIDC_CLIENT_ID": CLIENT_ID,
        "WATTFLEET_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "client"),
        "WATTFLEET_SIGNING_KEY": str(tmp_path / "key"),
        "WATTFLEET_FLEET_FOLDER": str(tmp_path / "fleet"),
        "WATTFLEET_EDGE_CREDS": str(tmp_path / "edge"),
        "WATTFLEET_SECRET_FILE": str(tmp_path / "secret"),
        "WATTFLEET_HEALTH_PORT": str(free_port()),
    }


def program(environment: dict[str, str], log: Path) -> Program:
    ready = f"http://127.0.0.1:{environment['WATTFLEET_HEALTH_PORT']}/readyz"

    def answers() -> bool:
        try:
            return get(ready).status_code == 200
        except httpx2.HTTPError:
            return False

    gateway = Program((sys.executable, "-m", "wattfleet_gateway", "serve"), log, answers)
    gateway.env = environment
    return gateway


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
