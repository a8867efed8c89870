"""The adapters of a cluster keep what their ports promise, the same as those of one machine (operator/tests)."""

import json
import secrets
from collections.abc import AsyncIterator

import pytest
from lightkube import AsyncClient, KubeConfig
from wattfleet_e2e.kube_api import KubeApi
from wattfleet_operator.adapters.cluster_resources import ClusterResources
from wattfleet_operator.adapters.cluster_secrets import ClusterHomes, ClusterVault
from wattfleet_operator.errors import NotYet
from wattfleet_operator.testing import contracts
from wattfleet_tenants.crd import Household
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.placement import Place
from wattfleet_tenants.shard import ShardId


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


async def test_homes_as_secrets_keep_their_promises(client: AsyncClient, namespace: str, cluster: KubeApi) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    see(resources, cluster, household)
    await contracts.homes_keep_their_promises(ClusterHomes(client, namespace, resources), household)


async def test_a_placement_is_not_undone_by_an_event_that_came_late(client: AsyncClient, cluster: KubeApi) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    before = see(resources, cluster, household)
    seen = resources.household(household)
    assert seen is not None
    await resources.hold(seen)
    await resources.place(seen, Place(ShardId("s1"), 7_000))
    resources.saw("Household", "MODIFIED", before)
    placed = resources.household(household)
    assert placed is not None
    assert (placed.status.shard, placed.status.send_phase_ms) == ("s1", 7_000)
    assert resources.phases(ShardId("s1")) == {7_000: 1}
    stored = json.loads(cluster.kubectl("get", "household", household, "-o", "json"))
    assert Household.model_validate({**stored}).status == placed.status


async def test_what_was_deleted_meanwhile_is_not_made_anew(client: AsyncClient, cluster: KubeApi) -> None:
    resources, household = ClusterResources(client), mint_household_id()
    see(resources, cluster, household)
    seen = resources.household(household)
    assert seen is not None
    cluster.kubectl("delete", "household", household)
    with pytest.raises(NotYet, match="uid"):
        await resources.hold(seen)
    assert household not in cluster.kubectl("get", "households", "-o", "name")


def see(resources: ClusterResources, cluster: KubeApi, household: str) -> dict[str, object]:
    manifest = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": {"name": household}}
    cluster.apply(manifest)
    body: dict[str, object] = json.loads(cluster.kubectl("get", "household", household, "-o", "json"))
    resources.saw("Household", "ADDED", body)
    return body
