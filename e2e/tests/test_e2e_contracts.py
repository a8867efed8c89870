"""The adapters of a cluster keep what their ports promise, the same as those of one machine (operator/tests)."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.operator_parts import broker_server, settings_of
from wattfleet_e2e.pods import pods_run
from wattfleet_e2e.seeing import seen
from wattfleet_operator.adapters.cluster_resources import FINALIZER, PLACE, ClusterResources
from wattfleet_operator.adapters.cluster_secrets import ClusterHomes, ClusterVault
from wattfleet_operator.adapters.cluster_store import ClusterStore
from wattfleet_operator.adapters.cluster_workloads import ClusterWorkloads
from wattfleet_operator.adapters.nats_broker import NatsBroker
from wattfleet_operator.cluster import ClusterOperator
from wattfleet_operator.errors import NotYet
from wattfleet_operator.handlers import watch
from wattfleet_operator.manifests.shard_objects import SHARD_LABEL, store_host
from wattfleet_operator.ports import StoreUrls
from wattfleet_operator.testing import contracts
from wattfleet_operator.vault_names import secret_of
from wattfleet_tenants.crd import Shard
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.placement import Place
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually

NATS = "nats://127.0.0.1:1"
MADE_OF = "deployments,statefulsets,services,persistentvolumeclaims,poddisruptionbudgets,networkpolicies"


@pytest.fixture
async def client(cluster: KubeApi) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(config=KubeConfig.from_file(str(cluster.kubeconfig)))
    yield client
    await client.close()


@pytest.fixture
def namespace(cluster: KubeApi) -> str:
    name = f"contracts-{secrets.token_hex(4)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


async def test_the_vault_of_secrets_keeps_its_promises(client: AsyncClient, namespace: str) -> None:
    await contracts.vault_keeps_its_promises(ClusterVault(client, namespace))


async def test_two_vaults_of_one_namespace_agree(client: AsyncClient, namespace: str) -> None:
    await contracts.vaults_of_one_place_agree(ClusterVault(client, namespace), ClusterVault(client, namespace))


async def test_a_vault_does_not_undo_what_another_one_has_stored_meanwhile(client: AsyncClient, namespace: str) -> None:
    first, second = ClusterVault(client, namespace), ClusterVault(client, namespace)
    await first.keep("shards/s1/a", lambda: "a")
    await second.keep("shards/s1/b", lambda: "b")
    await first.replace("shards/s1/a", "A")
    fresh = ClusterVault(client, namespace)
    assert [await fresh.keep(f"shards/s1/{key}", lambda: "lost") for key in "ab"] == ["A", "b"]


async def test_keys_that_somebody_deleted_or_changed_are_put_back(
    client: AsyncClient, namespace: str, cluster: KubeApi
) -> None:
    vault = ClusterVault(client, namespace)
    for name in ("shards/s1/a", "shards/s1/b", "shards/s2/a"):
        await vault.keep(name, lambda: "ours")
    first, second = (secret_of(f"shards/{shard}/a")[0] for shard in ("s1", "s2"))
    theirs = {"stringData": {"a": "theirs", "more": "added"}, "data": {"b": None}}
    cluster.kubectl("patch", "secret", first, "-n", namespace, "--type=merge", "-p", json.dumps(theirs))
    cluster.kubectl("delete", "secret", second, "-n", namespace)
    await vault.put_back()
    fresh = ClusterVault(client, namespace)
    held = [await fresh.keep(f"shards/{name}", lambda: "lost") for name in ("s1/a", "s1/b", "s2/a", "s1/more")]
    assert held == ["ours", "ours", "ours", "added"]


async def test_keys_that_cannot_be_put_back_yet_are_not_forgotten(
    client: AsyncClient, namespace: str, cluster: KubeApi
) -> None:
    vault = ClusterVault(client, namespace)
    for name in ("shards/s1/a", "shards/s2/a"):
        await vault.keep(name, lambda: "ours")
    full = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": namespace}}
    cluster.apply({**full, "spec": {"hard": {"secrets": "0"}}})

    def is_full() -> bool:
        try:
            cluster.kubectl("create", "secret", "generic", "probe", "-n", namespace, "--dry-run=server")
        except CommandFailed:
            return True
        return False

    await seen(is_full, 30, "no Secret is let in")
    for name in ("shards/s1/a", "shards/s2/a"):
        cluster.kubectl("delete", "secret", secret_of(name)[0], "-n", namespace)
    await vault.put_back()
    with pytest.raises(NotYet):
        await vault.replace("shards/s1/a", "new")
    cluster.kubectl("delete", "resourcequota", "full", "-n", namespace)

    async def are_back() -> bool:
        await vault.put_back()
        found = await asyncio.to_thread(cluster.kubectl, "get", "secrets", "-n", namespace, "-o", "name")
        return len(found.split()) == 2

    await eventually(are_back, 30, "both are put back")
    fresh = ClusterVault(client, namespace)
    assert [await fresh.keep(f"shards/{shard}/a", lambda: "lost") for shard in ("s1", "s2")] == ["ours", "ours"]


async def test_a_change_to_keys_that_somebody_deleted_or_changed_loses_none_of_the_others(
    client: AsyncClient, namespace: str, cluster: KubeApi
) -> None:
    vault = ClusterVault(client, namespace)
    for key in "ab":
        await vault.keep(f"shards/s1/{key}", lambda: "ours")
    cluster.kubectl("delete", "secret", secret_of("shards/s1/a")[0], "-n", namespace)
    await vault.replace("shards/s1/a", "new")
    theirs = json.dumps({"stringData": {"b": "theirs"}})
    cluster.kubectl("patch", "secret", secret_of("shards/s1/a")[0], "-n", namespace, "--type=merge", "-p", theirs)
    await vault.replace("shards/s1/a", "newer")
    fresh = ClusterVault(client, namespace)
    assert [await fresh.keep(f"shards/s1/{key}", lambda: "lost") for key in "ab"] == ["newer", "ours"]


async def test_homes_as_secrets_keep_their_promises(client: AsyncClient, namespace: str, cluster: KubeApi) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    see(resources, cluster, household)
    await contracts.homes_keep_their_promises(ClusterHomes(client, namespace, resources), household)


async def test_a_placement_is_not_undone_by_an_event_that_came_late(client: AsyncClient, cluster: KubeApi) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    before = see(resources, cluster, household)
    seen = resources.household(household)
    assert seen is not None
    await resources.place(seen, Place(ShardId("s1"), 7_000))
    resources.saw("Household", "MODIFIED", before)
    placed = resources.household(household)
    assert placed is not None
    assert (placed.status.shard, placed.status.send_phase_ms) == ("s1", 7_000)
    assert resources.phases(ShardId("s1")) == {7_000: 1}
    after = ClusterResources(client)
    watch_tells(after, cluster, household)
    assert after.household(household) == placed, "whoever comes next finds it"
    cluster.kubectl("delete", "household", household, "--wait=false")
    await after.finish(placed)


async def test_a_household_that_comes_back_without_its_status_comes_back_to_its_place(
    client: AsyncClient, cluster: KubeApi
) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    see(resources, cluster, household)
    seen = resources.household(household)
    assert seen is not None
    await resources.place(seen, Place(ShardId("s1"), 7_000))
    backup = json.loads(cluster.kubectl("get", "household", household, "-o", "json"))
    await resources.finish(seen)
    cluster.kubectl("delete", "household", household)
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        backup["metadata"].pop(name)
    backup.pop("status", None)
    cluster.apply(backup)
    again = ClusterResources(client)
    watch_tells(again, cluster, household)
    restored = again.household(household)
    assert restored is not None
    assert (restored.status.shard, restored.status.send_phase_ms) == ("s1", 7_000)
    await again.hold(restored)
    kept = json.loads(cluster.kubectl("get", "household", household, "-o", "json"))["metadata"]
    assert kept["annotations"][PLACE] == f"{household}/s1/7000"
    cluster.kubectl("delete", "household", household, "--wait=false")
    await again.finish(restored)
    assert not cluster.kubectl("get", "household", household, "--ignore-not-found"), "whoever else holds it"


async def test_a_household_that_an_older_operator_placed_gets_its_annotation(
    client: AsyncClient, cluster: KubeApi
) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    see(resources, cluster, household)
    held = {"metadata": {"finalizers": [FINALIZER]}}
    cluster.kubectl("patch", "household", household, "--type=merge", "-p", json.dumps(held))
    status = {"status": {"shard": "s1", "sendPhaseMs": 7_000}}
    subresource = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    cluster.kubectl("patch", "household", household, *subresource)
    watch_tells(resources, cluster, household)
    known = resources.household(household)
    assert known is not None
    await resources.hold(known)
    kept = json.loads(cluster.kubectl("get", "household", household, "-o", "json"))["metadata"]
    assert kept["annotations"][PLACE] == f"{household}/s1/7000"
    cluster.kubectl("delete", "household", household, "--wait=false")
    await resources.finish(known)


async def test_what_was_deleted_meanwhile_is_not_made_anew(client: AsyncClient, cluster: KubeApi) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    see(resources, cluster, household)
    seen = resources.household(household)
    assert seen is not None
    cluster.kubectl("delete", "household", household)
    with pytest.raises(NotYet, match="uid"):
        await resources.hold(seen)
    assert household not in cluster.kubectl("get", "households", "-o", "name")


class Kept:
    """A shard, an operator that watches and decides nothing, and pods that say that they run."""

    def __init__(self, cluster: KubeApi, client: AsyncClient, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.parts = ClusterOperator(client, settings_of(namespace, NATS))
        self.shard = Shard.model_validate({"metadata": {"name": f"k{secrets.token_hex(4)}"}})

    def shows(self) -> dict[str, Any]:
        """What the shard is made of: which objects, and which wish each of them holds."""
        there = ("-n", self.namespace, "-l", f"{SHARD_LABEL}={self.shard.id}", "-o", "json")
        items = json.loads(self.cluster.kubectl("get", MADE_OF, *there))["items"]
        return {f"{one['kind']}/{one['metadata']['name']}": (one["metadata"]["uid"], one["spec"]) for one in items}


@pytest.fixture
async def kept(
    cluster: KubeApi, client: AsyncClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Kept]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    kept = Kept(cluster, client, namespace)
    parts, name = kept.parts, {"name": kept.shard.id}
    cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": name})
    await asyncio.gather(parts.resources.load(), parts.objects.load())
    watching = watch(parts.resources, parts.homes, parts.objects, parts.loop, namespace)
    running = [asyncio.create_task(one) for one in (watching, pods_run(client, namespace))]
    yield kept
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    cluster.kubectl("delete", "shard", kept.shard.id)


class AsServices(httpx.AsyncHTTPTransport):
    """Leads to `server` whatever is asked of `host`, as a Service of that name does where there are nodes."""

    def __init__(self, host: str, server: str) -> None:
        super().__init__()
        self._host, self._server = httpx.URL(f"http://{host}"), httpx.URL(server)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert (request.url.host, request.url.port) == (self._host.host, self._host.port)
        request.url = request.url.copy_with(host=self._server.host, port=self._server.port)
        return await super().handle_async_request(request)


@pytest.fixture
def victoria_metrics(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    server = VictoriaMetrics(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_a_store_as_objects_keeps_its_promises(kept: Kept, victoria_metrics: VictoriaMetrics) -> None:
    transport = AsServices(store_host(kept.shard.id, kept.namespace), victoria_metrics.url)
    async with httpx.AsyncClient(transport=transport) as http:
        look = settings_of(kept.namespace, NATS).look
        store = ClusterStore(kept.parts.objects, kept.parts.resources, look, None, http)
        await contracts.store_keeps_its_promises(store, kept.shard, http, kept.shows)


async def test_workloads_as_objects_keep_their_promises(kept: Kept) -> None:
    look = settings_of(kept.namespace, NATS).look
    workloads = ClusterWorkloads(kept.parts.objects, look, (NATS,))
    store = StoreUrls("http://insert", "http://select")
    await contracts.workloads_keep_their_promises(workloads, kept.shard, store, kept.shows)


async def test_nats_with_its_keys_as_secrets_keeps_its_promises(
    client: AsyncClient, namespace: str, tmp_path: Path, household: HouseholdId
) -> None:
    port = free_port()
    server = await broker_server(ClusterVault(client, namespace), port, tmp_path)
    server.start()

    @asynccontextmanager
    async def broker() -> AsyncIterator[NatsBroker]:
        broker = NatsBroker((f"nats://127.0.0.1:{port}",), ClusterVault(client, namespace))
        yield broker
        await broker.close()

    try:
        await contracts.broker_keeps_its_promises(broker, ShardId("s1"), household)
    finally:
        server.kill()


def see(resources: ClusterResources, cluster: KubeApi, household: str) -> dict[str, object]:
    manifest = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": {"name": household}}
    cluster.apply(manifest)
    return watch_tells(resources, cluster, household)


def watch_tells(resources: ClusterResources, cluster: KubeApi, household: str) -> dict[str, object]:
    body: dict[str, object] = json.loads(cluster.kubectl("get", "household", household, "-o", "json"))
    resources.saw("Household", "ADDED", body)
    return body
