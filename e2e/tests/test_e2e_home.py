"""From nothing to a home, on real nodes, as the README tells it: Helm, two resources, an agent, a person who looks.

The steps follow each other, each with a limit of its own. At the end the home is deleted, then its shard, and nothing
of either is left.
"""

import asyncio
import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from wattfleet_agent.simulated.home import SimulatedHome
from wattfleet_e2e.capabilities import Capability, PodCluster
from wattfleet_e2e.control_plane import ControlPlane
from wattfleet_e2e.people import signed_in
from wattfleet_e2e.platform import RELEASE, Platform, images_in, platform_on
from wattfleet_e2e.previous import NoHistory, previous_charts
from wattfleet_e2e.provider import Provider
from wattfleet_e2e.readings import AS_SENT_W, MINUTES_PER_DAY, measured, minutes_ago, stored
from wattfleet_e2e.rights import GATEWAY, OPERATOR, pairs
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.embedded.identity_provider import CLIENT_SECRET, IdentityProvider, Person
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TODAY = ROOT / "charts"
CACHE = ROOT / ".cache"
NAMESPACE = "wattfleet"
ALICE = Person("alice", "Alice Ampere", "alice-test-password")
SENSOR = "flat"
HISTORY_DAYS = 14

HISTORY_WITHIN_S = 180
GONE_WITHIN_S = 300

pytestmark = [pytest.mark.nodes, pytest.mark.needs(Capability.BESIDE)]


class Through(httpx.HTTPTransport):
    """Connects to `door` instead of to `address` (both `host:port`); the request stays as it is."""

    def __init__(self, address: str, door: str) -> None:
        super().__init__()
        self._address = address
        self._door = door

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if f"{request.url.host}:{request.url.port}" != self._address:
            return super().handle_request(request)
        host, _, port = self._door.partition(":")
        url = request.url.copy_with(host=host, port=int(port))
        there = httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return super().handle_request(there)


@dataclass(frozen=True)
class Identity:
    """An identity provider that pods and people reach at the same address, and its client's secret."""

    issuer: str
    secret: str
    way: Through


@pytest.fixture(scope="module")
def page_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def identity(nodes: PodCluster, page_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    folder = tmp_path_factory.mktemp("identity")
    vault, port, beside = FolderVault(folder / "vault"), free_port(), nodes.beside
    provider = IdentityProvider(vault, port, folder / "canaille", f"http://127.0.0.1:{page_port}", beside.address)
    process = asyncio.run(provider.prepare([ALICE]))
    through = Through(f"{beside.address}:{port}", beside.reach(port))

    def answers() -> bool:
        with httpx.Client(transport=through) as client:
            try:
                return client.get(process.ready_url).is_success
            except httpx.TransportError:
                return False

    program = Program(beside.command(process.argv), folder / "canaille.log", answers)
    # Without it the provider insists on TLS for any address but a loopback one.
    program.env = {**os.environ, **process.env, "AUTHLIB_INSECURE_TRANSPORT": "1"}
    try:
        program.start()
        yield Identity(provider.issuer, asyncio.run(vault.keep(CLIENT_SECRET, str)), through)
    finally:
        program.kill()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What is installed at first, and that in words: the charts as they were, or today's where nobody knows them."""
    try:
        commit, charts = previous_charts(ROOT, tmp_path_factory.mktemp("previous"))
    except NoHistory as reason:
        return TODAY, f"upgraded from today's charts: {reason}"
    return charts, f"upgraded from the charts of {commit}, with today's images before and after"


@pytest.fixture(scope="module")
def platform(
    nodes: PodCluster,
    provider: Provider,
    identity: Identity,
    page_port: int,
    before: tuple[Path, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    if provider.brings_images and not images_in(CACHE):
        pytest.skip("the images are not built: `make e2e-images` builds them")
    platform = platform_on(nodes, NAMESPACE, CACHE, tmp_path_factory.mktemp("helm"))
    gateway = {
        "enabled": True,
        "publicUrl": page_url(page_port),
        "oidc": {"issuer": identity.issuer, "existingSecret": "wattfleet-oidc"},
    }
    oidc = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "wattfleet-oidc", "namespace": NAMESPACE},
        "data": {"client-secret": base64.b64encode(identity.secret.encode()).decode()},
    }
    with platform.installed(before[0], {"gateway": gateway}, oidc):
        yield platform


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Which homes' stories were told to their end."""
    return []


def page_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def test_from_nothing_to_a_home_and_back(
    platform: Platform,
    identity: Identity,
    page_port: int,
    before: tuple[Path, str],
    told: list[str],
    record_property: Callable[[str, object], None],
) -> None:
    examples = [yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text()) for name in ("shard", "household")]
    shard, household = (one["metadata"]["name"] for one in examples)
    platform.kubectl("apply", "-f", str(ROOT / "examples"))
    platform.wait_until_ready("shard", shard)
    platform.wait_until_ready("household", household)
    platform.helm("test", RELEASE, "-n", NAMESPACE)

    own = ("household", "add", f"--id={household}", "--name=A home", f"--owner-issuer={identity.issuer}")
    gateway = ("exec", "-n", NAMESPACE, "deployment/home-gateway", "--", "python", "-m", "wattfleet_gateway")
    platform.kubectl(*gateway, *own, "--owner-subject=alice")
    settings = (f"sensor=simulated:{SENSOR}", f"historyDays={HISTORY_DAYS}")
    platform.install_agent(TODAY, "alices", household, *settings)
    # While it sends two weeks, everything is replaced twice: operator, NATS, gateway, page.
    platform.change_definitions("upgrade", TODAY)
    _replaced(platform, "upgrade", TODAY / "wattfleet", "--reset-then-reuse-values", "--set=logLevel=DEBUG")
    _replaced(platform, "rollback")
    with platform.store(shard) as store:
        _all_of_the_history_is_stored(store, household)
    page = page_url(page_port)
    assert platform.cluster.forward(NAMESPACE, f"{RELEASE}-gateway", 8080, page_port) == page
    with signed_in(page, ALICE.user, ALICE.password, identity.way) as alice:
        _readings_are_those_that_were_sent(alice, household)
        added = alice.post("/api/v1/households", json={"name": "A second home", "time_zone": "Europe/London"})
        assert added.status_code == 201, added.text
        platform.wait_until_ready("household", added.json()["id"])

    credentials = json.loads(platform.home_file(household))["credentials"]
    assert "SEED" in credentials
    platform.helm("uninstall", "alices", "-n", NAMESPACE, "--wait")
    with platform.store(shard) as store:
        assert _series(store, household)
        platform.kubectl("delete", "households", "--all", f"--timeout={GONE_WITHIN_S}s")
        assert not _series(store, household)
    assert not platform.kubectl("get", "secret", f"home-{household}", "-n", NAMESPACE, "--ignore-not-found")
    news = platform.kubectl("get", "events", "-n", "default", "-o", "json")
    receipts = [one for one in json.loads(news)["items"] if one["involvedObject"]["name"] == household]
    assert [one["reason"] for one in receipts] == ["Erased"]

    platform.kubectl("delete", "shard", shard, f"--timeout={GONE_WITHIN_S}s")
    of_the_shard = ("-n", NAMESPACE, "-l", f"wattfleet.io/shard={shard}", "-o", "name")
    everything = "pods,deployments,statefulsets,services,pvc,pdb,networkpolicies,replicasets,endpointslices"
    wait_until(
        lambda: not platform.kubectl("get", everything, *of_the_shard), GONE_WITHIN_S, "nothing of the shard is left"
    )
    names = platform.kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name")
    assert f"wattfleet-shards-{shard}" not in names

    def disks() -> list[str]:
        volumes = json.loads(platform.kubectl("get", "pv", "-o", "json"))["items"]
        return [one["spec"]["claimRef"]["name"] for one in volumes]

    wait_until(lambda: f"store-{shard}" not in disks(), GONE_WITHIN_S, "its disk is gone")
    told.append(household)


@pytest.mark.needs(Capability.AUDIT_LOG)
def test_for_all_of_this_each_part_asked_for_what_it_may_and_left_nothing_of_that_out(
    platform: Platform, told: list[str]
) -> None:
    assert told, "it takes the whole story above, which failed or was not told"
    api = platform.cluster.api
    assert isinstance(api, ControlPlane)
    assert api.asked_by(f"{NAMESPACE}:home-operator") == pairs(OPERATOR, "cluster", "namespace", "default")
    assert api.asked_by(f"{NAMESPACE}:home-gateway") == pairs(GATEWAY, "cluster")


def _replaced(platform: Platform, how: str, *arguments: str | Path) -> None:
    before = platform.secrets()
    platform.change(how, *arguments)
    assert platform.secrets().items() >= before.items(), "no key and no credential has changed"


def _all_of_the_history_is_stored(store: httpx.Client, household: str) -> None:
    """Each minute's value, as the simulated home measured it, once; the last ten minutes may be on their way."""
    expected = measured(SENSOR, minutes_ago(HISTORY_DAYS * MINUTES_PER_DAY - 20), minutes_ago(10))

    def all_there() -> bool:
        return expected.keys() <= stored(store, household).keys()

    wait_until(all_there, HISTORY_WITHIN_S, f"{len(expected)} samples are stored", every_s=2)
    found = stored(store, household)
    assert {moment: found[moment] for moment in expected} == pytest.approx(expected, abs=AS_SENT_W)


def _readings_are_those_that_were_sent(alice: httpx.Client, household: str) -> None:
    """Every minute of the last hours, of every socket, as the simulated home measured it."""
    home = SimulatedHome(SENSOR)
    end_ms, start_ms = minutes_ago(10), minutes_ago(10 + 6 * 60)
    expected = [home.minute(at).power_w for at in range(start_ms, end_ms, INTERVAL_MS)]
    span = {
        key: datetime.fromtimestamp(ms / 1000, UTC).isoformat() for key, ms in (("start", start_ms), ("end", end_ms))
    }

    def answer() -> list[list[float | None]] | None:
        said = alice.get(f"/api/v1/households/{household}/readings/range", params={**span, "step_s": 60})
        assert said.status_code == 200, said.text
        sockets = sorted(said.json()["sockets"], key=lambda socket: socket["number"])
        minutes = [list(minute) for minute in zip(*(socket["mean_power_w"] for socket in sockets), strict=True)]
        return minutes if sum(power is not None for minute in minutes for power in minute) >= _known(expected) else None

    said = wait_until(answer, HISTORY_WITHIN_S, "all minutes of six hours are there", every_s=1)
    assert [[power and pytest.approx(power, abs=0.051) for power in minute] for minute in expected] == said


def _known(minutes: list[Any]) -> int:
    return sum(power is not None for minute in minutes for power in minute)


def _series(store: httpx.Client, household: str) -> list[Any]:
    answer = store.get("/api/v1/series", params={"match[]": f'{{household="{household}"}}', "start": "0"})
    series: list[Any] = answer.raise_for_status().json()["data"]
    return series
