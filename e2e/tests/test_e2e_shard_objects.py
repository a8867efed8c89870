"""What a shard is made of in a cluster: made, owned, put back, gone with it. No node runs any of it here."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.operator_parts import broker_server
from wattfleet_e2e.seeing import seen
from wattfleet_operator.adapters.cluster_secrets import ClusterVault
from wattfleet_operator.cluster import ClusterOperator
from wattfleet_operator.manifests.shard_objects import SHARD_LABEL, Look
from wattfleet_operator.ports import StoreUrls
from wattfleet_operator.settings import Settings
from wattfleet_tenants.testing.programs import free_port

WITHIN_S = 45
KINDS = "deployments,statefulsets,services,persistentvolumeclaims,poddisruptionbudgets,networkpolicies"
OF_PROCESSES = {
    f"{kind}/{role}"
    for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy")
    for role in ("ingest", "writer", "reader")
} | {"Service/reader"}
OF_A_STORE = {f"{kind}/store" for kind in ("StatefulSet", "Service", "PersistentVolumeClaim", "NetworkPolicy")}


class Shards:
    """An operator at work, and what can be seen of its shards."""

    def __init__(self, cluster: KubeApi, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def wish(self, shard: str, **spec: object) -> None:
        metadata = {"name": shard}
        self.cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": metadata, "spec": spec})

    def objects(self, shard: str) -> dict[str, dict[str, Any]]:
        selector = f"{SHARD_LABEL}={shard}"
        answer = self.cluster.kubectl("get", KINDS, "-n", self.namespace, "-l", selector, "-o", "json")
        return {f"{one['kind']}/{one['metadata']['name'].removesuffix(f'-{shard}')}": one for one in _items(answer)}

    async def has(self, shard: str, *kinds: set[str]) -> dict[str, dict[str, Any]]:
        wished = set().union(*kinds)
        await seen(lambda: self.objects(shard).keys() == wished, WITHIN_S, f"{len(wished)} objects of {shard}")
        return self.objects(shard)

    def status(self, shard: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", "shard", shard, "-o", "json")).get("status", {})
        return found

    def reason(self, shard: str) -> str | None:
        conditions = self.status(shard).get("conditions", [])
        return next((one["reason"] for one in conditions if one["type"] == "Ready"), None)

    def pods(self, shard: str) -> set[str]:
        answer = self.cluster.kubectl("get", "pods", "-n", self.namespace, "-l", f"{SHARD_LABEL}={shard}", "-o", "json")
        return {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in _items(answer)}


def _items(answer: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(answer)["items"]
    return items


@pytest.fixture
async def shards(cluster: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shards]:
    """In a namespace that lets in no pod that is not restricted."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    cluster.kubectl("delete", "households,shards", "--all", "--timeout=120s")
    namespace, port = f"shards-{secrets.token_hex(4)}", free_port()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    client = AsyncClient(config=KubeConfig.from_file(str(cluster.kubeconfig)))
    urls = (f"nats://127.0.0.1:{port}",)
    shared = StoreUrls("http://vminsert:8480", "http://vmselect:8481")
    # Even where there are nodes none of it runs.
    look = Look(namespace, "wattfleet/tenants:1", "store:1", "Never")
    settings = Settings(look, urls, urls, "test", shared)
    server = await broker_server(ClusterVault(client, namespace), port, tmp_path)
    server.start()
    running = asyncio.create_task(ClusterOperator(client, settings).run())
    try:
        yield Shards(cluster, namespace)
        cluster.kubectl("delete", "shards", "--all", "--wait=false")
        await seen(lambda: not _items(cluster.kubectl("get", "shards", "-o", "json")), WITHIN_S, "no shard is left")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.stop()
        await client.close()


async def test_a_shard_is_made_of_objects_that_it_owns_and_that_a_restricted_namespace_lets_in(shards: Shards) -> None:
    shards.wish("s1")
    objects = await shards.has("s1", OF_PROCESSES, OF_A_STORE)
    uid = json.loads(shards.cluster.kubectl("get", "shard", "s1", "-o", "json"))["metadata"]["uid"]
    assert {one["metadata"]["ownerReferences"][0]["uid"] for one in objects.values()} == {uid}
    roles = {"store", "ingest", "writer", "reader"}
    await seen(lambda: shards.pods("s1") == roles, WITHIN_S, "a pod of each is let in")
    await seen(lambda: shards.reason("s1") == "StoreNotReady", WITHIN_S, "it says what is missing")


async def test_each_process_is_given_its_own_secrets_and_no_others(shards: Shards) -> None:
    shards.wish("s1")
    objects = await shards.has("s1", OF_PROCESSES, OF_A_STORE)
    given = {
        role: {
            f"{volume['secret']['secretName']}/{item['key']}"
            for volume in objects[f"Deployment/{role}"]["spec"]["template"]["spec"]["volumes"]
            if "secret" in volume
            for item in volume["secret"]["items"]
        }
        for role in ("ingest", "writer", "reader")
    }
    assert given == {
        "ingest": {"wattfleet-shards-s1/ingest.creds", "wattfleet-shards-s1/ingest-edge.creds"},
        "writer": {"wattfleet-shards-s1/writer.creds"},
        "reader": {"wattfleet-shards-s1/reader.creds", "wattfleet-signing/public.pem"},
    }


async def test_what_is_edited_or_deleted_by_hand_is_put_back_and_the_stores_disk_stays(shards: Shards) -> None:
    shards.wish("s1")
    before = await shards.has("s1", OF_PROCESSES, OF_A_STORE)
    there = ("-n", shards.namespace)
    kubectl = shards.cluster.kubectl
    kubectl("scale", "deployment", "writer-s1", "--replicas=5", *there)
    kubectl("set", "image", "deployment/reader-s1", "reader=evil:1", *there)
    kubectl("patch", "service", "store-s1", "-p", '{"spec":{"selector":{"app.kubernetes.io/component":"x"}}}', *there)
    kubectl("delete", "statefulset", "store-s1", *there)
    kubectl("delete", "networkpolicy", "store-s1", *there)

    def is_put_back() -> bool:
        now = shards.objects("s1")
        same = ("Deployment/writer", "Deployment/reader", "Service/store", "NetworkPolicy/store")
        return now.keys() == before.keys() and all(now[key]["spec"] == before[key]["spec"] for key in same)

    await seen(is_put_back, WITHIN_S, "everything is as it was")
    after = shards.objects("s1")
    disk, store = "PersistentVolumeClaim/store", "StatefulSet/store"
    assert after[disk]["metadata"]["uid"] == before[disk]["metadata"]["uid"]
    assert after[store]["metadata"]["uid"] != before[store]["metadata"]["uid"]


async def test_a_changed_wish_changes_what_it_is_about(shards: Shards) -> None:
    shards.wish("s1")
    await shards.has("s1", OF_PROCESSES, OF_A_STORE)
    shards.wish("s1", maxPowerW=5000, writers={"min": 2, "max": 2})

    def is_changed() -> bool:
        writer = shards.objects("s1")["Deployment/writer"]["spec"]
        env = {one["name"]: one["value"] for one in writer["template"]["spec"]["containers"][0]["env"]}
        return bool(writer["replicas"] == 2 and env["WATTFLEET_MAX_POWER_W"] == "5000")

    await seen(is_changed, WITHIN_S, "two writers know the new limit")


async def test_of_a_deleted_shard_nothing_is_left(shards: Shards) -> None:
    shards.wish("s1")
    await shards.has("s1", OF_PROCESSES, OF_A_STORE)
    # Without nodes nobody says that the disk is no longer in use.
    shards.cluster.kubectl("delete", "pods", "--all", "--force", "-n", shards.namespace)
    shards.cluster.kubectl("delete", "shard", "s1", "--wait=false")
    await seen(lambda: not shards.objects("s1"), WITHIN_S, "its objects are gone")
    names = shards.cluster.kubectl("get", "secrets", "-n", shards.namespace, "-o", "name").split()
    assert sorted(names) == [
        f"secret/wattfleet-{kept}" for kept in ("gateway", "nats", "nats-routes", "nats-server", "signing")
    ]


async def test_a_tenant_of_a_cluster_of_stores_has_an_account_for_good_and_no_store(shards: Shards) -> None:
    shards.wish("s1", storage={"mode": "tenant"})
    objects = await shards.has("s1", OF_PROCESSES)
    account = shards.status("s1")["storeAccount"]
    env = objects["Deployment/writer"]["spec"]["template"]["spec"]["containers"][0]["env"]
    url = next(one["value"] for one in env if one["name"] == "WATTFLEET_STORE_INSERT_URL")
    assert url == f"http://vminsert:8480/insert/{account}/prometheus"
    with pytest.raises(CommandFailed, match="it cannot be changed"):
        shards.wish("s1", storage={"mode": "dedicated"})
    shards.wish("s1", storage={"mode": "tenant"}, capacity=5)
    await seen(lambda: shards.status("s1").get("observedGeneration") == 2, WITHIN_S, "it is looked at again")
    assert shards.status("s1")["storeAccount"] == account


async def test_two_shards_are_two_tenants(shards: Shards) -> None:
    shards.wish("s1", storage={"mode": "tenant"})
    shards.wish("s2", storage={"mode": "tenant"})
    await asyncio.gather(shards.has("s1", OF_PROCESSES), shards.has("s2", OF_PROCESSES))
    assert shards.status("s1")["storeAccount"] != shards.status("s2")["storeAccount"]
