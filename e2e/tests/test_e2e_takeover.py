"""Two operators and two hundred births; the one that leads is killed in the middle."""

import asyncio
import base64
import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_e2e.kube_api import KubeApi
from wattfleet_e2e.operator_parts import broker_server
from wattfleet_operator.adapters.cluster_secrets import HOUSEHOLD_LABEL, ClusterVault
from wattfleet_operator.credential import read_credential
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

HOUSEHOLDS = 200
KILLED_AFTER = 40
TAKEN_OVER_WITHIN_S = 20
STARTS_WITHIN_S = 30
ALL_READY_WITHIN_S = 120


class Operators:
    """Two operators' processes in a namespace of their own, with a broker and a shard."""

    def __init__(self, cluster: KubeApi, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = f"takeover-{secrets.token_hex(4)}"
        self.shard = f"k{secrets.token_hex(4)}"
        self.nats_port = free_port()
        self.processes = {name: self._process(folder / f"{name}.log") for name in ("a", "b")}

    def _process(self, log: Path) -> Program:
        port = free_port()
        argv = [sys.executable, "-m", "wattfleet_e2e.operator_process"]
        argv += [self.namespace, f"nats://127.0.0.1:{self.nats_port}", str(port)]
        process = Program(argv, log, lambda: _ready(port))
        process.env = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)}
        return process

    def leader(self) -> Program | None:
        leading = [process for process in self.processes.values() if process.running and _leads(int(process.argv[-1]))]
        assert len(leading) <= 1, "two lead at once"
        return leading[0] if leading else None

    def households(self) -> list[dict[str, Any]]:
        return self._items("households")

    def ready(self) -> int:
        conditions = [one for home in self.households() for one in home.get("status", {}).get("conditions", [])]
        return sum(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def credentials(self) -> dict[str, str]:
        """The public key of each household's user, by household."""
        found = {}
        for secret in self._items("secrets", "-n", self.namespace, "-l", HOUSEHOLD_LABEL):
            home = json.loads(base64.b64decode(secret["data"]["home.json"]))
            found[home["household"]] = read_credential(home["credentials"]).user_key
        return found

    def _items(self, *what: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", *what, "-o", "json"))["items"]
        return items


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _leads(port: int) -> bool:
    try:
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    except httpx.TransportError:
        return False
    return "wattfleet_operator_leads 1.0" in told


@pytest.fixture(scope="module")
def operators(cluster: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operators]:
    folder = tmp_path_factory.mktemp("operators")
    cluster.kubectl("delete", "households,shards", "--all", "--timeout=120s")
    operators = Operators(cluster, folder)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": operators.namespace}})
    server = asyncio.run(_broker(operators, folder))
    started = [server, *operators.processes.values()]
    try:
        for program in started:
            program.start()
        wait_until(operators.leader, STARTS_WITHIN_S, "one leads")
        cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": operators.shard}})
        cluster.kubectl("wait", "--for=condition=Ready", f"--timeout={STARTS_WITHIN_S}s", "shard", operators.shard)
        yield operators
        for kind in ("households", "shards"):
            cluster.kubectl("delete", kind, "--all", f"--timeout={ALL_READY_WITHIN_S}s")
    finally:
        for program in reversed(started):
            if program.running:
                program.kill()


async def _broker(operators: Operators, folder: Path) -> Program:
    client = AsyncClient(config=KubeConfig.from_file(str(operators.cluster.kubeconfig)))
    try:
        return await broker_server(ClusterVault(client, operators.namespace), operators.nats_port, folder)
    finally:
        await client.close()


def test_a_leader_that_is_told_to_stop_hands_over_at_once(operators: Operators) -> None:
    leader = operators.leader()
    assert leader is not None
    assert leader.stop() == 0
    wait_until(operators.leader, 5, "the other one leads")
    leader.start()


def test_a_leader_killed_under_two_hundred_births_is_followed_and_nobody_gets_two_credentials(
    operators: Operators,
) -> None:
    metadata = [{"name": mint_household_id()} for _ in range(HOUSEHOLDS)]
    kind = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "spec": {"deletionPolicy": "Retain"}}
    operators.cluster.apply(*[{**kind, "metadata": one} for one in metadata])
    wait_until(lambda: len(operators.credentials()) >= KILLED_AFTER, ALL_READY_WITHIN_S, "births are under way")
    leader = operators.leader()
    assert leader is not None
    leader.kill()
    killed_s = monotonic()
    handed_out = operators.credentials()
    assert len(handed_out) < HOUSEHOLDS, "it was killed in the middle"
    wait_until(operators.leader, TAKEN_OVER_WITHIN_S - (monotonic() - killed_s), "the other one leads")
    wait_until(lambda: operators.ready() == HOUSEHOLDS, ALL_READY_WITHIN_S, "all are Ready")
    credentials = operators.credentials()
    assert len(set(credentials.values())) == HOUSEHOLDS
    assert handed_out.items() <= credentials.items(), "none was minted twice"
