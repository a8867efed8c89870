"""A shard as a tenant of a cluster of stores: the cluster's URLs, with a real vmauth in front of real stores."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from operator_fakes import FakeWorld, shard
from wattfleet_operator.adapters.cluster_objects import ClusterObjects
from wattfleet_operator.adapters.cluster_store import ClusterStore
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.manifests.shard_objects import Look, Manifest
from wattfleet_operator.ports import StoreUrls
from wattfleet_tenants import series
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsHistory
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore as Inserts
from wattfleet_tenants.crd import Shard
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.programs import Program, find_program, free_port
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually

AT_MS = 1_790_000_000_000
LOOK = Look("wattfleet", "tenants", "store")


class NoObjects(ClusterObjects):
    """A tenant is made of none."""

    def __init__(self) -> None:
        pass

    async def ensure(self, shard: ShardId, wished: Sequence[Manifest]) -> None:
        assert not wished


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[VictoriaMetrics]]:
    """The storage of account 1 and that of account 2."""
    started = []
    try:
        for account in ("1", "2"):
            folder = tmp_path / account
            folder.mkdir()
            started.append(VictoriaMetrics(folder))
            started[-1].start()
        yield started
    finally:
        for store in started:
            store.kill()


@pytest.fixture
def vmauth(tmp_path: Path, stores: list[VictoriaMetrics]) -> Iterator[Program]:
    """Leads each account's part of the URLs to its storage."""
    routes = [
        {
            "src_paths": [f"/{door}/{account}/prometheus/.*"],
            "drop_src_path_prefix_parts": 3,
            "url_prefix": store.url,
        }
        for account, store in enumerate(stores, start=1)
        for door in ("insert", "select", "delete")
    ]
    configuration = tmp_path / "vmauth.json"
    configuration.write_text(json.dumps({"unauthorized_user": {"url_map": routes}}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [find_program("vmauth"), f"-auth.config={configuration}", f"-httpListenAddr=127.0.0.1:{port}"]
    program = Program(argv, tmp_path / "vmauth.log", lambda: _answers(f"{url}/health"))
    program.start()
    yield program
    program.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def tenant(name: str, account: int | None) -> Shard:
    wished = shard(name, storage={"mode": "tenant"})
    return wished.model_copy(update={"status": wished.status.model_copy(update={"store_account": account})})


@pytest.fixture
def store(vmauth: Program, http: httpx.AsyncClient) -> ClusterStore:
    fake = FakeWorld()
    for one in (tenant("a", 1), tenant("b", 2), tenant("c", 3)):
        fake.resources.add(one)
    url = "http://" + vmauth.argv[-1].partition("=")[2]
    return ClusterStore(NoObjects(), fake.resources, LOOK, StoreUrls(url, url), http)


async def stored(urls: StoreUrls, http: httpx.AsyncClient, household: HouseholdId) -> None:
    row = f"{AT_MS},{household},230.5,1,,\n".encode()
    await Inserts(http, urls.insert).insert_rows([memoryview(row)])


async def power_w(urls: StoreUrls, http: httpx.AsyncClient, household: HouseholdId) -> list[float]:
    history = VictoriaMetricsHistory(http, urls.select)
    return [socket.power_w for socket in await history.last(household, AT_MS + 1000, 60)]


async def test_what_one_tenant_stores_no_other_reads_and_erasing_stays_with_it(
    store: ClusterStore, http: httpx.AsyncClient, stores: list[VictoriaMetrics]
) -> None:
    first, second = await store.ensure(tenant("a", 1)), await store.ensure(tenant("b", 2))
    household = mint_household_id()
    for urls in (first, second):
        await stored(urls, http, household)
    assert [one.count(series.power_selector(household)) for one in stores] == [1, 1]
    await eventually(lambda: power_w(first, http, household), 10, "it can be read")
    assert await power_w(first, http, household) == [230.5]
    assert await store.has_series(ShardId("a"), household)
    await store.erase(ShardId("a"), household)
    assert [await store.has_series(ShardId(one), household) for one in "ab"] == [False, True]
    assert [one.count(series.power_selector(household)) for one in stores] == [0, 1]
    assert await power_w(first, http, household) == []
    assert await power_w(second, http, household) == [230.5]


async def test_a_store_that_does_not_answer_is_not_ready(store: ClusterStore, stores: list[VictoriaMetrics]) -> None:
    await store.check(ShardId("a"))
    with pytest.raises(NotYet, match="VictoriaMetrics"):
        await store.check(ShardId("c"))
    stores[1].kill()
    with pytest.raises(NotYet, match="VictoriaMetrics"):
        await store.check(ShardId("b"))


async def test_a_tenant_without_a_cluster_of_stores_or_an_account_is_told_what_is_missing(
    http: httpx.AsyncClient,
) -> None:
    fake = FakeWorld()
    with pytest.raises(Refused, match="needs a VictoriaMetrics cluster"):
        await ClusterStore(NoObjects(), fake.resources, LOOK, None, http).ensure(tenant("a", 1))
    shared = StoreUrls("http://insert", "http://select")
    with pytest.raises(NotYet, match="is not recorded yet"):
        await ClusterStore(NoObjects(), fake.resources, LOOK, shared, http).ensure(tenant("a", None))
