"""Households and shards on a real API server and a real broker: from `kubectl apply` to Ready, and to the end.

What runs a shard's processes is not part of these stories: its store and its workloads say that they are there.
"""

import asyncio
import base64
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import nats
import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_e2e.kube_api import KubeApi
from wattfleet_e2e.operator_parts import OperatorParts, broker_server
from wattfleet_e2e.seeing import seen
from wattfleet_operator.adapters.cluster_resources import FINALIZER, ClusterResources
from wattfleet_operator.adapters.cluster_secrets import ClusterHomes, secret_name
from wattfleet_operator.household import ERASED_AGAIN_AFTER
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.assignments import quota_in
from wattfleet_tenants.home_file import HomeFile, parse_home
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import eventually

NAMESPACE = "wattfleet-system"
READY_WITHIN_S = 60
SEEN_WITHIN_S = 45
MOST_REQUESTS_PER_BIRTH = 3.5
ONCE: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0}


class Counted(httpx2.AsyncHTTPTransport):
    """Counts what is asked of the API server, watches left aside."""

    requests = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return await super().handle_async_request(request)


class Operator:
    """The operator's parts in this process, and what can be seen of them from outside."""

    def __init__(self, cluster: KubeApi, client: AsyncClient, folder: Path) -> None:
        self.cluster = cluster
        self.shard = f"t{secrets.token_hex(4)}"
        self._port = free_port()
        self._folder = folder
        self.parts = OperatorParts(client, NAMESPACE, f"nats://127.0.0.1:{self._port}")

    async def start_broker(self) -> Program:
        server = await broker_server(self.parts.vault, self._port, self._folder)
        server.start()
        return server

    def after(self, time: timedelta) -> None:
        """Puts the operator's clock forward, and has it look."""
        self.parts.later += time
        self.parts.loop.wake()

    def found(self, kind: str, name: str, *more: str) -> dict[str, Any] | None:
        answer = self.cluster.kubectl("get", kind, name, "-o", "json", "--ignore-not-found", *more)
        found: dict[str, Any] | None = json.loads(answer) if answer else None
        return found

    def reason(self, kind: str, name: str) -> str | None:
        resource = self.found(kind, name)
        conditions = (resource or {}).get("status", {}).get("conditions", [])
        return next((one["reason"] for one in conditions if one["type"] == "Ready"), None)

    async def becomes(self, household: HouseholdId, reason: str) -> None:
        await seen(lambda: self.reason("household", household) == reason, READY_WITHIN_S, reason)

    def home(self, household: HouseholdId) -> HomeFile | None:
        secret = self.found("secret", secret_name(household), "-n", NAMESPACE)
        return None if secret is None else parse_home(base64.b64decode(secret["data"]["home.json"]), "the Secret")

    async def quota(self, household: HouseholdId) -> Quota:
        """What the household's shard is told of it."""
        async with self.parts.broker._nats.jetstream(ShardId(self.shard)) as js:
            entry = await (await js.key_value(subjects.HOUSEHOLDS_BUCKET)).get(household)
            return quota_in(entry.value or b"")

    async def birth(self, **spec: object) -> HouseholdId:
        household = mint_household_id()
        self.cluster.apply(wish(household, **spec))
        await self.becomes(household, "Ready")
        return household

    def keep_credential(self, household: HouseholdId) -> Path:
        """A copy of the household's credential, such as its agent has."""
        home = self.home(household)
        assert home is not None
        copy = self._folder / f"{household}.creds"
        copy.write_text(home.credentials)
        return copy

    async def connects(self, household: HouseholdId) -> bool:
        return await self.connects_with(self.keep_credential(household))

    async def refuses(self, credential: Path) -> bool:
        return not await self.connects_with(credential)

    async def connects_with(self, credential: Path) -> bool:
        client, url = nats.NATS(), f"nats://127.0.0.1:{self._port}"
        try:
            await client.connect(url, user_credentials=str(credential), error_cb=_quiet, **ONCE)
        except nats.errors.Error:
            return False
        finally:
            await client.close()  # nats-py leaves the socket of a refused connection open
        return True


async def _quiet(_: Exception) -> None:
    pass


def wish(household: HouseholdId, **spec: object) -> dict[str, Any]:
    metadata = {"name": household}
    return {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": metadata, "spec": spec}


@pytest.fixture
async def api(cluster: KubeApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[AsyncClient, Counted]]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    counted = Counted(verify=cluster.trusted())
    config = KubeConfig.from_file(str(cluster.kubeconfig))
    client = AsyncClient(config=config, transport=counted, field_manager="wattfleet-operator")
    yield client, counted
    await client.close()


@pytest.fixture
async def operator(cluster: KubeApi, api: tuple[AsyncClient, Counted], tmp_path: Path) -> AsyncIterator[Operator]:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    operator = Operator(cluster, api[0], tmp_path)
    server = await operator.start_broker()
    running = asyncio.create_task(operator.parts.run())
    try:
        manifest = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": operator.shard}}
        cluster.apply(manifest)
        await seen(lambda: operator.reason("shard", operator.shard) == "Ready", READY_WITHIN_S, "a Ready shard")
        yield operator
        await remove_everything(cluster, operator)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.stop()


async def remove_everything(cluster: KubeApi, operator: Operator) -> None:
    for kind in ("households", "shards"):
        cluster.kubectl("delete", kind, "--all", "--wait=false")

        async def none_left(kind: str = kind) -> bool:
            operator.after(ERASED_AGAIN_AFTER)
            return not await asyncio.to_thread(cluster.kubectl, "get", kind, "-o", "name")

        await eventually(none_left, READY_WITHIN_S, f"no {kind} are left")


async def test_a_household_is_born_with_a_secret_of_its_own_that_the_broker_takes(operator: Operator) -> None:
    household = await operator.birth()
    secret = operator.found("secret", secret_name(household), "-n", NAMESPACE)
    resource = operator.found("household", household)
    assert secret is not None
    assert resource is not None
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Household", resource["metadata"]["uid"])
    assert resource["metadata"]["finalizers"] == [FINALIZER]
    assert resource["status"]["shard"] == operator.shard
    assert resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
    assert await operator.connects(household)
    told = json.dumps(resource)
    assert "SEED" not in told
    assert "JWT" not in told


async def test_a_secret_that_was_taken_away_or_changed_by_hand_is_put_back(
    operator: Operator, cluster: KubeApi
) -> None:
    household = await operator.birth()
    cluster.kubectl("delete", "secret", secret_name(household), "-n", NAMESPACE)
    await seen(lambda: operator.home(household) is not None, SEEN_WITHIN_S, "it is made anew")
    assert await operator.connects(household)
    nonsense = {"data": {"home.json": base64.b64encode(b"{}").decode()}}
    cluster.kubectl("patch", "secret", secret_name(household), "-n", NAMESPACE, "-p", json.dumps(nonsense))

    def is_right() -> bool:
        try:
            return operator.home(household) is not None
        except ValueError:
            return False

    await seen(is_right, SEEN_WITHIN_S, "it is put back")
    assert await operator.connects(household)


async def test_a_credential_whose_secret_is_gone_is_refused_all_the_same(operator: Operator, cluster: KubeApi) -> None:
    household = await operator.birth()
    taken = operator.keep_credential(household)
    cluster.kubectl("delete", "secret", secret_name(household), "-n", NAMESPACE)
    await seen(lambda: operator.home(household) is not None, SEEN_WITHIN_S, "it is made anew")
    assert await operator.connects_with(taken), "the home that has it goes on"
    cluster.kubectl("delete", "household", household, "--wait=false")
    cluster.kubectl("delete", "secret", secret_name(household), "-n", NAMESPACE, "--ignore-not-found")
    await eventually(lambda: operator.refuses(taken), SEEN_WITHIN_S, "it is refused")


async def test_a_suspended_household_is_cut_off_and_comes_back(operator: Operator, cluster: KubeApi) -> None:
    household = await operator.birth()
    before = operator.home(household)
    cluster.apply(wish(household, suspended=True))
    await operator.becomes(household, "Suspended")
    assert operator.home(household) is None
    cluster.apply(wish(household, suspended=False))
    await operator.becomes(household, "Ready")
    after = operator.home(household)
    assert before is not None
    assert after is not None
    assert before.credentials != after.credentials
    assert await operator.connects(household)


async def test_an_edited_quota_is_told_to_its_shard_at_once_and_costs_the_report_alone(
    operator: Operator, cluster: KubeApi, api: tuple[AsyncClient, Counted]
) -> None:
    household = await operator.birth(quota={"backlogDays": 3})
    assert await operator.quota(household) == Quota(backlog_days=3)
    before = api[1].requests
    cluster.apply(wish(household, quota={"sockets": 30}))

    async def told() -> bool:
        return await operator.quota(household) == Quota(sockets=30)

    await eventually(told, 10, "the shard is told")

    def reported() -> bool:
        resource = operator.found("household", household) or {}
        return bool(resource["status"]["observedGeneration"] == resource["metadata"]["generation"])

    await seen(reported, SEEN_WITHIN_S, "the edit is reported")
    assert api[1].requests - before == 1


async def test_a_deleted_household_is_erased_before_it_goes(operator: Operator, cluster: KubeApi) -> None:
    household = await operator.birth()
    cluster.kubectl("delete", "household", household, "--wait=false")
    await operator.becomes(household, "Erasing")
    assert operator.parts.store.erased == [household]
    operator.after(ERASED_AGAIN_AFTER + timedelta(seconds=1))
    await seen(lambda: operator.found("household", household) is None, READY_WITHIN_S, "it is gone")
    assert len(operator.parts.store.erased) > 1, "once more when no writer holds its readings"
    await seen(
        lambda: operator.found("secret", secret_name(household), "-n", NAMESPACE) is None, SEEN_WITHIN_S, "no Secret"
    )


async def test_a_shard_goes_after_its_households(operator: Operator, cluster: KubeApi) -> None:
    household = await operator.birth(deletionPolicy="Retain")
    cluster.kubectl("delete", "shard", operator.shard, "--wait=false")
    await seen(
        lambda: operator.reason("shard", operator.shard) == "HouseholdsLeft", SEEN_WITHIN_S, "it says what it waits for"
    )
    cluster.kubectl("delete", "household", household, "--wait=false")
    await seen(lambda: operator.found("household", household) is None, READY_WITHIN_S, "it is gone")
    await seen(lambda: operator.found("shard", operator.shard) is None, READY_WITHIN_S, "the shard is gone")


async def test_a_birth_asks_little_of_the_api_server(
    operator: Operator, cluster: KubeApi, api: tuple[AsyncClient, Counted]
) -> None:
    homes = [mint_household_id() for _ in range(50)]
    before = api[1].requests
    cluster.apply(*[wish(household, deletionPolicy="Retain") for household in homes])

    def all_ready() -> bool:
        found = json.loads(cluster.kubectl("get", "households", "-o", "json"))["items"]
        reasons = [one["reason"] for home in found for one in home.get("status", {}).get("conditions", [])]
        return reasons.count("Ready") == 3 * len(homes)

    await seen(all_ready, 60, "all are Ready")
    assert (api[1].requests - before) / len(homes) <= MOST_REQUESTS_PER_BIRTH


async def test_the_last_free_places_are_given_once_however_many_want_them(operator: Operator, cluster: KubeApi) -> None:
    places, homes = 5, [mint_household_id() for _ in range(15)]
    cluster.kubectl("patch", "shard", operator.shard, "--type=merge", "-p", json.dumps({"spec": {"capacity": places}}))
    cluster.apply(*[wish(household, deletionPolicy="Retain") for household in homes])

    def reasons() -> Counter[str | None]:
        return Counter(operator.reason("household", household) for household in homes)

    await seen(lambda: reasons() == {"Ready": places, "NoShardHasRoom": len(homes) - places}, 60, "as many as it takes")
    found = [operator.found("household", household) or {} for household in homes]
    phases = [home["status"]["sendPhaseMs"] for home in found if "shard" in home["status"]]
    assert len(set(phases)) == len(phases) == places


async def test_who_is_carried_is_known_again_after_a_restart(
    operator: Operator, cluster: KubeApi, api: tuple[AsyncClient, Counted]
) -> None:
    household = await operator.birth()
    minted = operator.home(household)
    again = ClusterResources(api[0])
    homes = ClusterHomes(api[0], NAMESPACE, again)
    await homes.load()
    assert await homes.read(household) == minted, "no credential is minted twice"
