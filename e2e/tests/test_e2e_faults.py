"""What goes wrong while the operator works, each as it really happens; afterwards everything is as wished.

The operator dies between any two of its outside calls, the API server is killed, somebody writes a Secret at the same
moment, the broker is away, a watch is cut, clocks are wrong.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.operator_parts import OperatorParts, broker_server
from wattfleet_e2e.seeing import seen
from wattfleet_operator.adapters.cluster_secrets import ClusterVault, secret_name
from wattfleet_operator.household import ERASED_AGAIN_AFTER
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import eventually

WITHIN_S = 60


class Dies(httpx2.AsyncHTTPTransport):
    """Counts what is asked of the API server; at the call of number `at` the operator dies, after or instead of it."""

    def __init__(self, cluster: KubeApi) -> None:
        super().__init__(verify=cluster.trusted())
        self.calls: list[str] = []
        self.at: int | None = None
        self.done_before = False
        self.dead = asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        dies = len(self.calls) == self.at
        self.calls.append(f"{request.method} {request.url.path}")
        if dies and not self.done_before:
            await self._die()
        response = await super().handle_async_request(request)
        if dies:
            await response.aread()
            await self._die()
        return response

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


class Faulty:
    """A namespace, a broker and a shard of their own, for operators that come and go."""

    def __init__(self, cluster: KubeApi, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = f"faults-{secrets.token_hex(4)}"
        self.shard = f"f{secrets.token_hex(4)}"
        self.port = free_port()
        self.folder = folder
        self.server: Program | None = None

    def client(self, transport: httpx2.AsyncHTTPTransport | None = None) -> AsyncClient:
        config = KubeConfig.from_file(str(self.cluster.kubeconfig))
        if transport is None:
            return AsyncClient(config=config, field_manager="wattfleet-operator")
        return AsyncClient(config=config, transport=transport, field_manager="wattfleet-operator")

    @asynccontextmanager
    async def operator(self, transport: httpx2.AsyncHTTPTransport | None = None) -> AsyncIterator[OperatorParts]:
        client = self.client(transport)
        parts = OperatorParts(client, self.namespace, f"nats://127.0.0.1:{self.port}")
        running = asyncio.create_task(parts.run())
        try:
            yield parts
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.close()

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments)

    def wish(self, household: HouseholdId, **spec: object) -> HouseholdId:
        metadata = {"name": household}
        self.cluster.apply(
            {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": metadata, "spec": spec}
        )
        return household

    def reason(self, kind: str, name: str) -> str | None:
        answer = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        conditions = (json.loads(answer) if answer else {}).get("status", {}).get("conditions", [])
        return next((one["reason"] for one in conditions if one["type"] == "Ready"), None)

    async def is_ready(self, household: HouseholdId) -> None:
        await seen(lambda: self.reason("household", household) == "Ready", WITHIN_S, "it is Ready")

    def credentials(self, household: HouseholdId) -> str | None:
        answer = self.kubectl(
            "get", "secret", secret_name(household), "-n", self.namespace, "-o", "json", "--ignore-not-found"
        )
        if not answer:
            return None
        home: dict[str, Any] = json.loads(base64.b64decode(json.loads(answer)["data"]["home.json"]))
        return str(home["credentials"])


@pytest.fixture
async def faulty(cluster: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Faulty]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    faulty = Faulty(cluster, tmp_path)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": faulty.namespace}})
    client = faulty.client()
    faulty.server = await broker_server(ClusterVault(client, faulty.namespace), faulty.port, tmp_path)
    await client.close()
    faulty.server.start()
    cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": faulty.shard}})
    try:
        async with faulty.operator():
            await seen(lambda: faulty.reason("shard", faulty.shard) == "Ready", WITHIN_S, "a Ready shard")
        yield faulty
        await _remove_everything(faulty)
    finally:
        faulty.server.kill()


async def _remove_everything(faulty: Faulty) -> None:
    async with faulty.operator() as parts:
        for kind in ("households", "shards"):
            faulty.kubectl("delete", kind, "--all", "--wait=false")

            async def none_left(kind: str = kind) -> bool:
                parts.later += ERASED_AGAIN_AFTER
                parts.loop.wake()
                answer = await asyncio.to_thread(faulty.kubectl, "get", kind, "-o", "name")
                return not answer

            await eventually(none_left, WITHIN_S, f"no {kind} are left")


async def test_whoever_follows_an_operator_that_died_at_any_call_finishes_the_birth(faulty: Faulty) -> None:
    undisturbed = Dies(faulty.cluster)
    async with faulty.operator(undisturbed):
        await _born(faulty)
        before = len(undisturbed.calls)
        await _born(faulty)
        births = [call for call in undisturbed.calls[before:] if "shards/" not in call]
    assert 3 <= len(births) <= 6, births
    for number in range(len(births)):
        for done_before in (False, True):
            await _dies_and_is_followed(faulty, number, done_before)


async def _born(faulty: Faulty) -> None:
    """With the first one, an operator has learnt all that it asks for but once."""
    await faulty.is_ready(faulty.wish(mint_household_id(), deletionPolicy="Retain"))


async def _dies_and_is_followed(faulty: Faulty, number: int, done_before: bool) -> None:
    transport = Dies(faulty.cluster)
    async with faulty.operator(transport):
        await _born(faulty)
        transport.done_before, transport.at = done_before, len(transport.calls) + number
        household = faulty.wish(mint_household_id(), deletionPolicy="Retain")
        async with asyncio.timeout(WITHIN_S):
            await transport.dead.wait()
    handed_out = faulty.credentials(household)
    async with faulty.operator():
        await faulty.is_ready(household)
    assert faulty.credentials(household) is not None
    assert handed_out in (None, faulty.credentials(household)), "a credential that is there is not minted again"


@pytest.mark.needs(Capability.PROCESS_CONTROL)
async def test_a_killed_api_server_delays_everything_and_loses_nothing(faulty: Faulty) -> None:
    first, second = mint_household_id(), mint_household_id()
    async with faulty.operator():
        await faulty.is_ready(faulty.wish(first))
        credentials = faulty.credentials(first)
        faulty.wish(second)
        faulty.cluster.api_server.kill()
        faulty.cluster.api_server.start()  # not in a thread: it would end with that
        await faulty.is_ready(second)
        third = faulty.wish(mint_household_id())
        await faulty.is_ready(third)
    assert faulty.credentials(first) == credentials


async def test_a_secret_that_somebody_writes_at_the_same_moment_keeps_both_changes(faulty: Faulty) -> None:
    """Kubernetes answers 409 to whoever wrote an older version."""
    name = f"wattfleet-shards-{faulty.shard}"
    there = ("-n", faulty.namespace)
    household = mint_household_id()
    async with faulty.operator() as parts:
        await faulty.is_ready(faulty.wish(household))
        await parts.vault.keep(f"shards/{faulty.shard}/revocations.json", str)
        faulty.kubectl("annotate", "secret", name, "somebody=else", *there)
        faulty.wish(household, suspended=True)
        await seen(lambda: faulty.reason("household", household) == "Suspended", WITHIN_S, "it is cut off")
    secret = json.loads(faulty.kubectl("get", "secret", name, "-o", "json", *there))
    assert secret["metadata"]["annotations"]["somebody"] == "else"
    assert len(json.loads(base64.b64decode(secret["data"]["revocations.json"]))) == 1


async def test_while_the_broker_is_away_it_says_so_and_afterwards_all_is_well(faulty: Faulty) -> None:
    assert faulty.server is not None
    async with faulty.operator():
        known = faulty.wish(mint_household_id())
        await faulty.is_ready(known)
        faulty.server.kill()
        newborn = faulty.wish(mint_household_id())
        await seen(lambda: faulty.reason("household", newborn) == "BrokerUnavailable", WITHIN_S, "it says so")
        faulty.server.start()
        await faulty.is_ready(newborn)
        await faulty.is_ready(known)


@pytest.mark.parametrize("ahead", [timedelta(minutes=-10), timedelta(minutes=10)])
async def test_an_operator_whose_clock_is_wrong_hands_out_credentials_that_work(
    faulty: Faulty, ahead: timedelta
) -> None:
    async with faulty.operator() as parts:
        parts.later = ahead
        household = faulty.wish(mint_household_id())
        await faulty.is_ready(household)
        credentials = faulty.credentials(household)
        parts.later = timedelta()
        parts.loop.wake()
        await faulty.is_ready(household)
        assert faulty.credentials(household) == credentials, "and does not renew them without need"


async def test_one_that_cannot_be_read_hides_none_of_the_others(faulty: Faulty) -> None:
    """As an older version of the definition might have let it in: without the rules for a time zone."""
    kubectl = faulty.kubectl
    definition = json.loads(kubectl("get", "crd", "households.wattfleet.io", "-o", "json"))
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/timeZone"
    rules = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    kept = rules["timeZone"]["x-kubernetes-validations"]
    field = f"{path}/x-kubernetes-validations"
    _patch(kubectl, [{"op": "remove", "path": field}])
    try:
        strange, household = mint_household_id(), mint_household_id()
        await seen(lambda: _is_let_in(faulty, strange), WITHIN_S, "the older rules are in force")
        async with faulty.operator():
            await faulty.is_ready(faulty.wish(household))
            assert faulty.reason("household", strange) is None
            kubectl("patch", "household", strange, "--type=merge", "-p", '{"spec":{"timeZone":"Europe/Paris"}}')
            await faulty.is_ready(strange)
    finally:
        _patch(kubectl, [{"op": "add", "path": field, "value": kept}])


def _is_let_in(faulty: Faulty, household: HouseholdId) -> bool:
    try:
        faulty.wish(household, timeZone="Middle/Earth")
    except CommandFailed as error:
        if "IANA" not in str(error):
            raise
        return False
    return True


def _patch(kubectl: Any, operations: list[dict[str, Any]]) -> None:
    kubectl("patch", "crd", "households.wattfleet.io", "--type=json", "-p", json.dumps(operations))
