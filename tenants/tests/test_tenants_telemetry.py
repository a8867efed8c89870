"""Health that cannot be faked by a stuck loop, logs that give no secret away."""

import io
import json
import logging
import sys

import httpx
import pytest
from wattfleet_tenants.telemetry import logs
from wattfleet_tenants.telemetry.health import Health, start_health_server


@pytest.fixture
def asked():
    """Asks a health server for a path."""
    servers = []

    def ask(health: Health, path: str) -> httpx.Response:
        server = start_health_server(health, 0)
        servers.append(server)
        return httpx.get(f"http://127.0.0.1:{server.server_port}{path}")

    yield ask
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_part_that_was_never_reported_is_not_ready(asked) -> None:
    answer = asked(Health("broker", "store"), "/readyz")
    assert answer.status_code == 503
    assert answer.json()["troubles"] == {"broker": "starting", "store": "starting"}


def test_ready_means_that_every_part_works(asked) -> None:
    health = Health("broker", "store")
    health.ok("broker")
    health.trouble("store", "it is down")
    assert asked(health, "/readyz").json()["troubles"] == {"store": "it is down"}
    assert asked(health, "/healthz").status_code == 200
    health.ok("store")
    assert asked(health, "/readyz").status_code == 200


def test_a_loop_that_stopped_going_round_is_seen(asked) -> None:
    now_s = 0.0
    health = Health(clock=lambda: now_s)
    assert asked(health, "/healthz").status_code == 200
    now_s = 31.0
    assert asked(health, "/healthz").status_code == 503
    assert asked(health, "/readyz").status_code == 503
    health.beat()
    assert asked(health, "/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/metricsx", "/../etc/passwd"])
def test_there_is_nothing_else(asked, path: str) -> None:
    assert asked(Health(), path).status_code == 404


def test_metrics_are_prometheus_text(asked) -> None:
    assert "python_info" in asked(Health(), "/metrics").text


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch):
    """The last line that was logged, as its fields."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.configure("writer")
    yield lambda: json.loads(out.getvalue().splitlines()[-1])
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_carries_process_household_and_sequence(logged) -> None:
    logging.getLogger("somewhere").info("stored", extra={"household": "h0123456789abcdefghij", "sequence": 7})
    fields = logged()
    assert fields["process"] == "writer"
    assert fields["message"] == "stored"
    assert fields["household"] == "h0123456789abcdefghij"
    assert fields["sequence"] == 7
    assert fields["time"].endswith("+00:00")


@pytest.mark.parametrize("name", ["token", "password", "seed", "cookie", "credentials", "authorization", "grant"])
def test_a_field_named_like_a_secret_is_hidden(logged, name: str) -> None:
    logging.getLogger("somewhere").warning("oops", extra={name: "SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ"})
    fields = logged()
    assert fields[name] == "(hidden)"
    assert "SUAIB" not in json.dumps(fields)
