"""The gateway on a real API server: few rights are enough to follow the fleet, and to add the home of a person."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.fleet import FleetRefuses, FleetUnavailable, Placement
from wattfleet_gateway.fleet_cluster import LISTED_AT_ONCE, ClusterFleet
from wattfleet_gateway.settings import OidcClient, Settings
from wattfleet_gateway.testing import contracts
from wattfleet_gateway.testing.contracts import SEEN_WITHIN_S, a_household, a_shard, is_so
from wattfleet_tenants.crd import Household, HouseholdSpec, HouseholdStatus, Shard, Status
from wattfleet_tenants.grants import generate_signing_keys
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.waiting import eventually, wait_until

NAMESPACE = "gateway-fleet"
RIGHTS = {"households": ["list", "watch", "create"], "shards": ["list", "watch"]}
LEARNT_WITHIN_S = 20
BACK_WITHIN_S = 30
MANY = 2_000
KINDS: dict[type, Any] = {
    Household: create_global_resource("wattfleet.io", "v1alpha1", "Household", "households"),
    Shard: create_global_resource("wattfleet.io", "v1alpha1", "Shard", "shards"),
}


class ClusterResources:
    """What an admin and the operator write into a cluster."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def apply(self, resource: Household | Shard) -> None:
        await self._patch(KINDS[type(resource)], resource, {"spec": resource.spec.model_dump(by_alias=True)})

    async def report(self, resource: Household | Shard, status: Status) -> None:
        told = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        await self._patch(KINDS[type(resource)].Status, resource, {"status": told})

    async def delete(self, resource: Household | Shard) -> None:
        await self._client.delete(KINDS[type(resource)], resource.metadata.name)

    async def spoil(self, household: HouseholdId) -> None:
        wished = {"metadata": {"name": household}, "spec": {"colour": "of another version"}}
        await self._client.create(KINDS[Household].from_dict(wished))

    async def spec(self, household: HouseholdId) -> HouseholdSpec | None:
        try:
            found = await self._client.get(KINDS[Household], household)
        except ApiError:
            return None
        return HouseholdSpec.model_validate(found.to_dict()["spec"])

    async def _patch(self, class_: Any, resource: Household | Shard, part: dict[str, Any]) -> None:
        name, kind = resource.metadata.name, resource.kind
        body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, **part}
        await self._client.patch(class_, name, body, patch_type=PatchType.APPLY, field_manager="test", force=True)


class Noted(httpx2.AsyncHTTPTransport):
    """Notes what is asked of the API server."""

    def __init__(self, cluster: KubeApi) -> None:
        super().__init__(verify=cluster.trusted())
        self.asked: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return await super().handle_async_request(request)


def config_of(cluster: KubeApi, account: str, rights: dict[str, list[str]]) -> KubeConfig:
    """What a pod of that ServiceAccount has, with `rights` on our resources and no others."""
    name = f"{NAMESPACE}-{account}"
    rbac, group = "rbac.authorization.k8s.io", "wattfleet.io"
    rules = [{"apiGroups": [group], "resources": [kind], "verbs": verbs} for kind, verbs in rights.items()]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": name}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": NAMESPACE}},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": role,
            "subjects": [subject],
        },
    )
    token = cluster.kubectl("create", "token", account, "--namespace", NAMESPACE).strip()
    return KubeConfig.from_dict(cluster.kubeconfig_with(token))


@pytest.fixture(scope="module")
def few_rights(cluster: KubeApi) -> KubeConfig:
    return config_of(cluster, "gateway", RIGHTS)


@pytest.fixture
async def admin(cluster: KubeApi) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(config=KubeConfig.from_file(str(cluster.kubeconfig)))
    yield client
    await client.close()


@pytest.fixture
def resources(admin: AsyncClient) -> ClusterResources:
    return ClusterResources(admin)


@asynccontextmanager
async def following(client: AsyncClient, health: Health | None = None) -> AsyncIterator[ClusterFleet]:
    health = health or Health("fleet")
    async with ClusterFleet(client, health) as fleet:
        await eventually(lambda: not health.troubles, LEARNT_WITHIN_S, "everything is learnt")
        yield fleet


@pytest.fixture
async def fleet(few_rights: KubeConfig) -> AsyncIterator[ClusterFleet]:
    async with following(AsyncClient(config=few_rights)) as fleet:
        yield fleet


async def test_a_clusters_household_is_followed_from_birth_to_end(
    fleet: ClusterFleet, resources: ClusterResources
) -> None:
    shard = a_shard(f"g{secrets.token_hex(4)}")
    await contracts.a_household_is_followed_from_birth_to_end(fleet, resources, shard)
    await resources.delete(shard)


async def test_a_household_is_created_in_the_cluster_once(fleet: ClusterFleet, resources: ClusterResources) -> None:
    await contracts.a_household_is_created_once(fleet, resources)


async def test_only_what_is_certainly_not_in_the_cluster_is_lacking(
    fleet: ClusterFleet, resources: ClusterResources
) -> None:
    await contracts.only_what_is_certainly_not_there_is_lacking(fleet, resources)


@pytest.fixture
def another_version(cluster: KubeApi) -> Iterator[None]:
    """The definitions of a version that knows more than the gateway."""
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour"

    def patch(*operations: dict[str, Any]) -> None:
        definition = "households.wattfleet.io"
        cluster.kubectl("patch", "crd", definition, "--type=json", "--patch", json.dumps(operations))

    def takes_colours() -> bool:
        with suppress(CommandFailed):
            cluster.kubectl("explain", "household.spec.colour")
            cluster.kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(coloured))
            return True
        return False

    metadata = {"name": mint_household_id()}
    spec = {"colour": "red"}
    coloured = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": metadata, "spec": spec}
    patch({"op": "add", "path": path, "value": {"type": "string"}})
    wait_until(takes_colours, BACK_WITHIN_S, "the API server knows of colours")
    yield
    patch({"op": "remove", "path": path})
    wait_until(lambda: not takes_colours(), BACK_WITHIN_S, "the API server has forgotten them")


@pytest.mark.usefixtures("another_version")
async def test_a_household_that_cannot_be_read_hides_none(fleet: ClusterFleet, resources: ClusterResources) -> None:
    await contracts.what_cannot_be_read_hides_nothing_else(fleet, resources)


async def test_the_gateways_rights_are_enough_and_open_nothing_else(
    few_rights: KubeConfig, fleet: ClusterFleet, resources: ClusterResources
) -> None:
    home = a_household()
    await fleet.create(home.id, "Europe/Paris", "local")
    client = AsyncClient(config=few_rights)
    refused = [
        client.get(Secret, "home-x", namespace=NAMESPACE),
        client.delete(KINDS[Household], home.id),
        client.patch(KINDS[Household], home.id, {"spec": {"suspended": True}}, patch_type=PatchType.MERGE),
        client.patch(KINDS[Household].Status, home.id, {"status": {"shard": "s1"}}, patch_type=PatchType.MERGE),
        client.create(KINDS[Shard].from_dict({"metadata": {"name": "mine"}})),
    ]
    for attempt in refused:
        with pytest.raises(ApiError, match="forbidden"):
            await attempt
    await client.close()
    await resources.delete(home)


async def test_a_gateway_that_may_only_look_says_that_it_is_refused(cluster: KubeApi) -> None:
    config = config_of(cluster, "onlooker", {kind: ["list", "watch"] for kind in RIGHTS})
    async with following(AsyncClient(config=config)) as fleet:
        household = mint_household_id()
        with pytest.raises(FleetRefuses, match="forbidden"):
            await fleet.create(household, "Europe/Paris", "local")
        assert fleet.placement(household) == Placement()


async def test_a_gateway_that_may_not_look_says_why_it_is_not_ready(cluster: KubeApi) -> None:
    health = Health("fleet")
    config = config_of(cluster, "stranger", {"households": ["create"]})
    async with ClusterFleet(AsyncClient(config=config), health):
        await eventually(lambda: "cannot list" in health.troubles["fleet"], LEARNT_WITHIN_S, "it says what is missing")


@pytest.mark.needs(Capability.PROCESS_CONTROL)
async def test_an_api_server_that_was_killed_is_followed_again(
    cluster: KubeApi, fleet: ClusterFleet, resources: ClusterResources
) -> None:
    kept, deleted = a_household(), a_household()
    for home in (kept, deleted):
        await resources.apply(home)
        await eventually(lambda home=home: fleet.placement(home.id) != Placement(), SEEN_WITHIN_S, "it is seen")
    cluster.api_server.kill()
    try:
        with pytest.raises(FleetUnavailable):
            await fleet.create(mint_household_id(), "Europe/Paris", "local")
        assert fleet.placement(kept.id) == Placement("Europe/Paris", reason="NotReported"), "it is still known"
    finally:
        cluster.api_server.start()  # in this thread: it ends with the one that started it
    await resources.delete(deleted)
    await resources.report(kept, HouseholdStatus(shard=ShardId("s9"), conditions=is_so(True, "Ready")))
    await eventually(lambda: fleet.placement(deleted.id) == Placement(), BACK_WITHIN_S, "a deleted one is gone")
    await eventually(lambda: fleet.placement(kept.id).ready, BACK_WITHIN_S, "changes are seen again")
    await fleet.create(deleted.id, "Europe/Paris", "local")
    for home in (kept, deleted):
        await resources.delete(home)


async def test_thousands_of_households_are_learnt_in_pieces_and_asked_for_from_memory(
    cluster: KubeApi, few_rights: KubeConfig, admin: AsyncClient, resources: ClusterResources
) -> None:
    homes, at_once = [a_household() for _ in range(MANY)], asyncio.Semaphore(50)
    one_of_many = {"test": "many"}

    async def create(home: Household) -> None:
        async with at_once:
            wished = {"metadata": {"name": home.id, "labels": one_of_many}, "spec": {"timeZone": home.spec.time_zone}}
            await admin.create(KINDS[Household].from_dict(wished))

    await asyncio.gather(*[create(home) for home in homes])
    noted = Noted(cluster)
    try:
        async with following(AsyncClient(config=few_rights, transport=noted)) as fleet:
            lists = [
                asked for asked in noted.asked if "households" in asked.url.path and "watch" not in asked.url.params
            ]
            assert len(lists) >= MANY / LISTED_AT_ONCE
            assert {asked.url.params["limit"] for asked in lists} == {str(LISTED_AT_ONCE)}
            await eventually(lambda: len(noted.asked) >= len(lists) + 3, LEARNT_WITHIN_S, "both kinds are watched")
            asked = len(noted.asked)
            waiting = Placement("Europe/Paris", reason="NotReported")
            assert all(fleet.placement(home.id) == waiting for home in homes)
            assert len(noted.asked) == asked, "a placement costs no request"
            last = homes[-1]
            await resources.report(last, HouseholdStatus(shard=ShardId("s9"), conditions=is_so(True, "Ready")))
            await eventually(lambda: fleet.placement(last.id).ready, SEEN_WITHIN_S, "one change among thousands")
    finally:
        cluster.kubectl("delete", "households", "--selector=test=many", "--wait=false")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        public_url="http://gateway.test",
        database_url=f"sqlite:///{tmp_path / 'gateway.db'}",
        oidc=OidcClient("http://issuer.test", "client", "secret"),
        signing_key=generate_signing_keys().private_pem,
        secret=secrets.token_bytes(32),
        fleet_folder=None,
        edge_credentials=tmp_path / "edge",
    )


async def test_a_home_that_a_person_adds_becomes_a_resource(
    fleet: ClusterFleet, resources: ClusterResources, settings: Settings
) -> None:
    app = create_app(settings, Ports(fleet, None, None))  # type: ignore[arg-type]
    gateway = app.state.gateway
    alice, bob = (gateway.store.ensure_user("http://issuer.test", name) for name in ("alice", "bob"))
    browsers = [
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url=settings.public_url,
            headers={"Origin": settings.public_url},
            cookies={gateway.cookies.session_name: gateway.sessions.start(person, "")},
        )
        for person in (alice, bob)
    ]
    hers, his = browsers
    answer = await hers.post("/api/v1/households", json={"name": "Our house", "time_zone": "Europe/London"})
    assert answer.status_code == 201, answer.text
    household = HouseholdId(answer.json()["id"])
    assert await resources.spec(household) == HouseholdSpec(time_zone="Europe/London")
    home = Household(metadata={"name": household})
    await resources.report(home, HouseholdStatus(shard=ShardId("s9"), conditions=is_so(True, "Ready")))
    await eventually(lambda: fleet.placement(household).ready, SEEN_WITHIN_S, "it is ready")
    (seen,) = (await hers.get("/api/v1/households")).json()
    assert (seen["id"], seen["name"], seen["ready"], seen["time_zone"]) == (
        household, "Our house", True, "Europe/London",
    )  # fmt: skip
    assert (await his.get("/api/v1/households")).json() == []
    for browser in browsers:
        await browser.aclose()
    await resources.delete(home)
