"""Operators that compete for one Lease on a real API server; one of them is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from wattfleet_e2e.kube_api import KubeApi
from wattfleet_operator.leadership import DURATION_S
from wattfleet_tenants.testing.waiting import wait_until

NAMESPACE = "leaders"
FIRST_WITHIN_S = 15
TAKEN_OVER_WITHIN_S = 20
CANDIDATE = """
import asyncio, os, sys
from lightkube import AsyncClient, KubeConfig
from wattfleet_operator.adapters.cluster_lease import ClusterLeases
from wattfleet_operator.leadership import Leadership

async def main(name, namespace):
    client = AsyncClient(config=KubeConfig.from_env())
    part = Leadership(ClusterLeases(client, namespace), name, lambda: os._exit(70))
    await part.acquire()
    print("leads", flush=True)
    await part.keep()

asyncio.run(main(*sys.argv[1:]))
"""


class Candidate:
    def __init__(self, cluster: KubeApi, name: str, folder: Path) -> None:
        self.name = name
        self._told = folder / f"{name}.out"
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        with self._told.open("wb") as told, (folder / f"{name}.err").open("wb") as log:
            argv = [sys.executable, "-c", CANDIDATE, name, NAMESPACE]
            self.process = subprocess.Popen(argv, stdout=told, stderr=log, env=env)

    @property
    def leads(self) -> bool:
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}"
        return "leads" in self._told.read_text()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def holder(cluster: KubeApi) -> str:
    lease = json.loads(cluster.kubectl("get", "lease", "wattfleet-operator", "-n", NAMESPACE, "-o", "json"))
    return str(lease["spec"]["holderIdentity"])


@pytest.fixture(autouse=True)
def namespace(cluster: KubeApi) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})


def test_a_killed_leader_is_followed_and_a_stopped_one_ends_when_it_wakes(cluster: KubeApi, tmp_path: Path) -> None:
    candidates = {name: Candidate(cluster, name, tmp_path) for name in ("one", "two", "three")}
    try:
        first = wait_until(lambda: next((c for c in candidates.values() if c.leads), None), FIRST_WITHIN_S, "one leads")
        assert holder(cluster) == first.name
        first.end()
        del candidates[first.name]
        second = wait_until(
            lambda: next((c for c in candidates.values() if c.leads), None), TAKEN_OVER_WITHIN_S, "another one leads"
        )
        assert holder(cluster) == second.name
        del candidates[second.name]
        (third,) = candidates.values()
        second.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: third.leads, TAKEN_OVER_WITHIN_S, "the last one leads")
            second.process.send_signal(signal.SIGCONT)
            assert second.process.wait(DURATION_S) == 70, "what was stopped for too long ends before it acts"
        finally:
            second.end()
        assert holder(cluster) == third.name
        lease = json.loads(cluster.kubectl("get", "lease", "wattfleet-operator", "-n", NAMESPACE, "-o", "json"))
        assert lease["spec"]["leaseTransitions"] == 2
    finally:
        for candidate in candidates.values():
            candidate.end()
