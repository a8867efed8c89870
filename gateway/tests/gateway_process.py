"""A gateway in a process of its own, told by its environment as on any machine."""

import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
from wattfleet_tenants.testing.programs import Program


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, verify=False, timeout=5)


def program(environment: dict[str, str], log: Path, up: Callable[[], bool] | None = None) -> Program:
    ready = f"http://127.0.0.1:{environment['WATTFLEET_HEALTH_PORT']}/readyz"

    def answers() -> bool:
        try:
            return get(ready).status_code == 200
        except httpx2.HTTPError:
            return False

    gateway = Program((sys.executable, "-m", "wattfleet_gateway", "serve"), log, up or answers)
    gateway.env = environment
    return gateway
