"""From nothing to a home, on real nodes, as the README tells it: Helm, two resources, an agent, a person who looks.

The steps follow each other, each with a limit of its own. At the end the home is deleted, then its shard, and nothing
of either is left.
"""

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Iterator
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
from wattfleet_e2e.provider import Provider
from wattfleet_e2e.rights import GATEWAY, OPERATOR, pairs
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.embedded.identity_provider import CLIENT_SECRET, IdentityProvider, Person
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
HELM = ROOT / ".cache" / "helm" / "helm"
IMAGES = sorted((ROOT / ".cache" / "images").glob("*.tar"))
NAMESPACE = "wattfleet"
ALICE = Person("alice", "Alice Ampere", "alice-test-password")
SENSOR = "flat"
HISTORY_DAYS = 14

INSTALLED_WITHIN_S = 300
READY_WITHIN_S = 180
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


@dataclass
class Platform:
    """Wattfleet in a cluster, and the people's identity provider beside it."""

    cluster: PodCluster
    identity: "Identity"
    page_port: int
    home_was_told: bool = False

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.page_port}"

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.api.kubectl(*arguments)

    def helm(self, *arguments: str) -> str:
        config = str(self.cluster.api.kubeconfig)
        done = subprocess.run(
            [str(HELM), *arguments, "--kubeconfig", config], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stderr}\n{self.trouble()}"
        return done.stdout

    def trouble(self) -> str:
        """What the pods of the platform are up to."""
        return self.kubectl("get", "pods", "-A", "-o", "wide") + self.kubectl(
            "get", "events", "-n", NAMESPACE, "--field-selector=type=Warning"
        )

    def resource(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def is_ready(self, kind: str, name: str) -> None:
        def ready() -> bool:
            conditions = self.resource(kind, name).get("status", {}).get("conditions", [])
            return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

        try:
            wait_until(ready, READY_WITHIN_S, f"{kind} {name} is Ready", every_s=0.5)
        except TimeoutError as error:
            pytest.fail(f"{error}\n{json.dumps(self.resource(kind, name).get('status'), indent=1)}\n{self.trouble()}")

    def secrets(self) -> dict[str, Any]:
        """What Secrets of the platform hold, those of Helm's own left aside."""
        found = json.loads(self.kubectl("get", "secrets", "-n", NAMESPACE, "-o", "json"))["items"]
        return {one["metadata"]["name"]: one["data"] for one in found if not one["type"].startswith("helm.sh/")}

    def store(self, shard: str) -> httpx.Client:
        return httpx.Client(base_url=self.cluster.forward(NAMESPACE, f"store-{shard}", 8428), trust_env=False)


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
def platform(
    nodes: PodCluster,
    provider: Provider,
    identity: Identity,
    page_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Platform:
    """Installed by Helm into a namespace that lets in no pod that is not restricted."""
    if provider.brings_images and not IMAGES:
        pytest.skip("the images are not built: `make e2e-images` builds them")
    for archive in IMAGES:
        nodes.load_image(archive)
    platform = Platform(nodes, identity, page_port)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    nodes.api.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "wattfleet-oidc", "namespace": NAMESPACE},
            "data": {"client-secret": base64.b64encode(identity.secret.encode()).decode()},
        },
    )
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    gateway = {
        "enabled": True,
        "publicUrl": platform.page_url,
        "oidc": {"issuer": identity.issuer, "existingSecret": "wattfleet-oidc"},
    }
    values.write_text(yaml.safe_dump({"gateway": gateway}))
    platform.helm("install", "definitions", str(ROOT / "charts" / "wattfleet-crds"))
    platform.helm(
        *("install", "home", str(ROOT / "charts" / "wattfleet"), "-n", NAMESPACE, "-f", str(values)),
        *("--wait", f"--timeout={INSTALLED_WITHIN_S}s"),
    )
    return platform


def test_from_nothing_to_a_home_and_back(platform: Platform) -> None:
    examples = [yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text()) for name in ("shard", "household")]
    shard, household = (one["metadata"]["name"] for one in examples)
    platform.kubectl("apply", "-f", str(ROOT / "examples"))
    platform.is_ready("shard", shard)
    platform.is_ready("household", household)
    platform.helm("test", "home", "-n", NAMESPACE)

    own = ("household", "add", f"--id={household}", "--name=A home", f"--owner-issuer={platform.identity.issuer}")
    gateway = ("exec", "-n", NAMESPACE, "deployment/home-gateway", "--", "python", "-m", "wattfleet_gateway")
    platform.kubectl(*gateway, *own, "--owner-subject=alice")
    agent = str(ROOT / "charts" / "wattfleet-agent")
    settings = (f"--set=home.existingSecret=home-{household}", f"--set=sensor=simulated:{SENSOR}")
    platform.helm("install", "alices", agent, "-n", NAMESPACE, *settings, f"--set=historyDays={HISTORY_DAYS}")
    # While it sends two weeks, everything is replaced twice: operator, NATS, gateway, page.
    _replaced(platform, "upgrade", "home", str(ROOT / "charts" / "wattfleet"), "--reuse-values", "--set=logLevel=DEBUG")
    _replaced(platform, "rollback", "home")
    with platform.store(shard) as store:
        _all_of_the_history_is_stored(store, household)
    assert platform.cluster.forward(NAMESPACE, "home-gateway", 8080, platform.page_port) == platform.page_url
    with signed_in(platform.page_url, ALICE.user, ALICE.password, platform.identity.way) as alice:
        _readings_are_those_that_were_sent(alice, household)
        added = alice.post("/api/v1/households", json={"name": "A second home", "time_zone": "Europe/London"})
        assert added.status_code == 201, added.text
        platform.is_ready("household", added.json()["id"])

    credentials = json.loads(_secret(platform, household))["credentials"]
    assert "SEED" in credentials
    platform.helm("uninstall", "alices", "-n", NAMESPACE, "--wait")
    with platform.store(shard) as store:
        assert _series(store, household)
        platform.kubectl("delete", "households", "--all", f"--timeout={GONE_WITHIN_S}s")
        assert not _series(store, household)
    assert not platform.kubectl("get", "secret", f"home-{household}", "-n", NAMESPACE, "--ignore-not-found")
    told = platform.kubectl("get", "events", "-n", "default", "-o", "json")
    receipts = [one for one in json.loads(told)["items"] if one["involvedObject"]["name"] == household]
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
    platform.home_was_told = True


@pytest.mark.needs(Capability.AUDIT_LOG)
def test_for_all_of_this_each_part_asked_for_what_it_may_and_left_nothing_of_that_out(platform: Platform) -> None:
    assert platform.home_was_told, "it takes the whole story above, which failed or was not told"
    api = platform.cluster.api
    assert isinstance(api, ControlPlane)
    assert api.asked_by(f"{NAMESPACE}:home-operator") == pairs(OPERATOR, "cluster", "namespace", "default")
    assert api.asked_by(f"{NAMESPACE}:home-gateway") == pairs(GATEWAY, "cluster")


def _replaced(platform: Platform, *how: str) -> None:
    before = platform.secrets()
    platform.helm(*how, "-n", NAMESPACE, "--wait", f"--timeout={INSTALLED_WITHIN_S}s")
    assert platform.secrets().items() >= before.items(), "no key and no credential has changed"


def _all_of_the_history_is_stored(store: httpx.Client, household: str) -> None:
    """Each minute's value, as the simulated home measured it, once; the last ten minutes may be on their way."""
    home = SimulatedHome(SENSOR)
    end_ms = int(datetime.now(UTC).timestamp() * 1000) // INTERVAL_MS * INTERVAL_MS - 10 * INTERVAL_MS
    start_ms = end_ms - (HISTORY_DAYS * 24 * 60 - 30) * INTERVAL_MS
    expected = {
        (str(number), at): power
        for at in range(start_ms, end_ms, INTERVAL_MS)
        for number, power in enumerate(home.minute(at).power_w, start=1)
        if power is not None
    }

    def all_there() -> bool:
        return expected.keys() <= _stored(store, household).keys()

    wait_until(all_there, HISTORY_WITHIN_S, f"{len(expected)} samples are stored", every_s=2)
    stored = _stored(store, household)
    assert {moment: stored[moment] for moment in expected} == pytest.approx(expected, abs=0.051)


def _stored(store: httpx.Client, household: str) -> dict[tuple[str, int], float]:
    asked = {"match[]": f'wattfleet_power_watts{{household="{household}"}}'}
    found: dict[tuple[str, int], float] = {}
    for line in store.get("/api/v1/export", params=asked, timeout=60).raise_for_status().text.splitlines():
        series = json.loads(line)
        moments = [(series["metric"]["socket"], at) for at in series["timestamps"]]
        assert not found.keys() & set(moments)
        assert len(set(moments)) == len(moments), "no moment is stored twice"
        found |= dict(zip(moments, series["values"], strict=True))
    return found


def _readings_are_those_that_were_sent(alice: httpx.Client, household: str) -> None:
    """Every minute of the last hours, of every socket, as the simulated home measured it."""
    home = SimulatedHome(SENSOR)
    end_ms = int(datetime.now(UTC).timestamp() * 1000) // INTERVAL_MS * INTERVAL_MS - 10 * INTERVAL_MS
    start_ms = end_ms - 6 * 60 * INTERVAL_MS
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


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def _known(minutes: list[Any]) -> int:
    return sum(power is not None for minute in minutes for power in minute)


def _secret(platform: Platform, household: str) -> str:
    kept = platform.kubectl("get", "secret", f"home-{household}", "-n", NAMESPACE, "-o", "jsonpath={.data.home\\.json}")
    return base64.b64decode(kept).decode()


def _series(store: httpx.Client, household: str) -> list[Any]:
    answer = store.get("/api/v1/series", params={"match[]": f'{{household="{household}"}}', "start": "0"})
    series: list[Any] = answer.raise_for_status().json()["data"]
    return series
