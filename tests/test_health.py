"""Every process of ours tells how it is, on a port of its own, in the words that Prometheus and Kubernetes know."""

import json

import httpx
from running_platform import Homes, RunningPlatform

AGENTS = {"agent-house-health", "agent-flat-health", "agent-farm-health"}
SERVICES = {"operator-health", "ingest-s1-health", "writer-s1-health", "reader-s1-health", "gateway-health"}


def test_every_process_serves_metrics_health_and_readiness(platform: RunningPlatform, homes: Homes) -> None:
    ports = json.loads((platform.platform.home / "ports.json").read_text())
    assert ports.keys() >= AGENTS | SERVICES
    for name in AGENTS | SERVICES:
        address = f"http://127.0.0.1:{ports[name]}"
        assert httpx.get(f"{address}/healthz").status_code == 200, name
        ready = httpx.get(f"{address}/readyz")
        assert ready.status_code == 200, (name, ready.text)
        metrics = httpx.get(f"{address}/metrics").text
        process = name.split("-")[0]
        assert f"wattfleet_{process}_" in metrics, name
        assert httpx.get(f"{address}/").status_code == 404


def test_no_metric_names_a_household(platform: RunningPlatform, homes: Homes) -> None:
    ports = json.loads((platform.platform.home / "ports.json").read_text())
    for name in SERVICES:
        metrics = httpx.get(f"http://127.0.0.1:{ports[name]}/metrics").text
        assert not [home for home in (homes.alice_house, homes.alice_flat, homes.bob_farm) if home in metrics], name
