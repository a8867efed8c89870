"""Three NATS servers know each other by a password that the operator made: whoever lacks it is none of them.

A server among the others sees and sends the messages of all accounts. Here a real one is configured by the chart.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from wattfleet_e2e.helm import Helm
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_accounts import accounts_configuration
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_tenants.testing.programs import Program, find_program, free_port
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 20
PASSWORD = secrets.token_hex(32)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The platform with three NATS servers and nothing else said."""
    folder = tmp_path_factory.mktemp("helm")
    helm = Helm(ROOT / ".cache" / "helm" / "helm", folder / "none", folder)
    return helm.render(ROOT / "charts" / "wattfleet", "--set=nats.replicas=3", "--set=shards.streamReplicas=3")


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (servers,) = (one for one in objects if one["kind"] == "StatefulSet")
    (found,) = servers["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.fixture
def routes(rendered: list[dict[str, Any]], tmp_path: Path) -> Iterator[str]:
    """Where the first of the three servers, which is there alone, takes in the others."""
    folder, clients, routes = tmp_path / "server", free_port(), f"127.0.0.1:{free_port()}"
    (folder / "accounts").mkdir(parents=True)
    identities = NatsIdentities(FolderVault(folder))
    accounts = asyncio.run(accounts_configuration(identities, str(folder / "resolver")))
    (folder / "accounts" / "accounts.conf").write_text(accounts)
    (configuration,) = (one["data"]["nats.conf"] for one in rendered if one["kind"] == "ConfigMap")
    here = {"0.0.0.0:4222": f"127.0.0.1:{clients}", "0.0.0.0:6222": routes, "/data/": f"{folder}/"}
    for there, instead in here.items():
        configuration = configuration.replace(there, instead)
    (folder / "nats.conf").write_text(configuration)
    told = {one["name"]: one.get("value", "") for one in container(rendered)["env"]}
    authorization = told["ROUTES_AUTHORIZATION"].replace("$(ROUTES_PASSWORD)", PASSWORD)
    log = folder / "nats.log"
    command = [find_program("nats-server"), "-c", str(folder / "nats.conf")]
    server = Program(command, log, lambda: "Listening for route connections" in log.read_text())
    itself = f"[nats://routes:{PASSWORD}@{routes}]"
    server.env = {**os.environ, "SERVER_NAME": "home-nats-0", "ROUTES": itself, "ROUTES_AUTHORIZATION": authorization}
    server.start()
    yield routes
    server.kill()


class Other:
    """Another server that wants to be one of them, and introduces itself as `who` (`user:password@`)."""

    def __init__(self, folder: Path, routes: str, who: str) -> None:
        folder.mkdir()
        self._port = free_port()
        self._log = folder / "nats.log"
        (folder / "nats.conf").write_text(
            f"listen: 127.0.0.1:{free_port()}\n"
            f"http: 127.0.0.1:{self._port}\n"
            f'cluster {{ name: wattfleet, listen: "127.0.0.1:{free_port()}", routes: ["nats://{who}{routes}"] }}\n'
        )
        command = [find_program("nats-server"), "-c", str(folder / "nats.conf")]
        self.program = Program(command, self._log, lambda: "Server is ready" in self._log.read_text())

    def __enter__(self) -> "Other":
        self.program.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()

    def is_refused(self) -> bool:
        return "Authorization Violation" in self._log.read_text()

    def is_taken_in(self) -> bool:
        routes = httpx.get(f"http://127.0.0.1:{self._port}/routez", trust_env=False).json()
        return bool(routes["num_routes"])


def test_the_password_is_the_operators_unless_there_is_one_of_yours(rendered: list[dict[str, Any]]) -> None:
    (password,) = (one for one in container(rendered)["env"] if one["name"] == "ROUTES_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"] == {"name": "wattfleet-nats-routes", "key": "password"}


@pytest.mark.parametrize("who", ["", "routes:guessed@"])
def test_a_strangers_server_is_refused(routes: str, tmp_path: Path, who: str) -> None:
    with Other(tmp_path / "stranger", routes, who) as stranger:
        wait_until(stranger.is_refused, WITHIN_S, "the stranger hears that it is none of them")
        assert not stranger.is_taken_in()


def test_a_server_that_knows_the_password_is_taken_in(routes: str, tmp_path: Path) -> None:
    with Other(tmp_path / "second", routes, f"routes:{PASSWORD}@") as second:
        wait_until(second.is_taken_in, WITHIN_S, "there is a route to the first server")
        assert not second.is_refused()
