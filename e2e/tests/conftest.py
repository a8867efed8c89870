"""A control plane for the stories that need no node (tier 1), and a cluster for those that do (tier 2).

Which, says `wattfleet_e2e/provider.py`. What cannot be told is skipped with its reason, and counted; a tier that
E2E_TIERS names and of which nothing is told is a failure.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wattfleet_e2e.capabilities import PodCluster
from wattfleet_e2e.charts import HELM, IDLE
from wattfleet_e2e.faulty import Faulty
from wattfleet_e2e.given import InUse, remove_traces
from wattfleet_e2e.helm import Helm
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.nodes import Programs
from wattfleet_e2e.provider import Machine, NoProvider, Provider, choose

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Programs(ROOT / ".cache" / "controlplane", ROOT / ".cache" / "coredns")
DEFINITIONS = ROOT / "charts" / "wattfleet-crds" / "templates"
ESTABLISHED = ("crd/households.wattfleet.io", "crd/shards.wattfleet.io")
PROMISED = {int(tier) for tier in os.environ.get("E2E_TIERS", "").split(",") if tier}
# All that take nodes: two processes tell them, each one after the other, on a cluster of its own.
WITH_NODES = {
    "test_e2e_home.py": "nodes, one by one",
    "test_e2e_nodes.py": "nodes, one by one",
    "test_e2e_platform_faults.py": "platforms in trouble",
    "test_e2e_platform_large.py": "platforms in trouble",
}
TIER = "tier"
CHOSEN = pytest.StashKey[Provider]()


def pytest_configure(config: pytest.Config) -> None:
    """One provider for the whole run; a run that cannot have it does not begin."""
    try:
        config.stash[CHOSEN] = choose(PROGRAMS, Machine(os.environ))
    except NoProvider as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Remembers of which tier a story is, and begins with the second, which takes longest."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        tier = 2 if "nodes" in fixtures else 1 if "cluster" in fixtures else 0
        if tier == 2 and item.path.name not in WITH_NODES:
            raise pytest.UsageError(f"{item.path.name} takes nodes and is missing in WITH_NODES, in {__file__}")
        item.user_properties.append((TIER, tier))
    items.sort(key=lambda item: item.path.name not in WITH_NODES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """Each process has a control plane of its own; of what exists but once, one process tells everything."""
    from xdist.scheduler import LoadFileScheduling

    only_one = config.stash[CHOSEN].without_nodes is None

    class ByCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "one cluster" if only_one else WITH_NODES.get(Path(file).name, file)

    return ByCluster(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before anything is started for it."""
    needed = [one for mark in item.iter_markers("needs") for one in mark.args]
    if reason := item.config.stash[CHOSEN].lacks(needed):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def provider(pytestconfig: pytest.Config) -> Provider:
    return pytestconfig.stash[CHOSEN]


@pytest.fixture
async def faulty(cluster: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Faulty]:
    """Where things go wrong; afterwards nothing is left of it."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    faulty = Faulty(cluster, tmp_path)
    try:
        await faulty.start()
        yield faulty
        await faulty.remove_everything()
    finally:
        if faulty.server is not None:
            faulty.server.kill()


@pytest.fixture(scope="session")
def cluster_with_nodes(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodCluster]:
    if reason := provider.why_no_nodes:
        if 2 in PROMISED:
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        with provider.with_nodes(tmp_path_factory.mktemp("nodes")) as cluster:
            yield cluster
    except (InUse, CommandFailed) as error:
        if provider.without_nodes is not None:
            raise
        # No story can be told; each would only say so again.
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def some_cluster(
    request: pytest.FixtureRequest, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeApi]:
    """Without nodes, if the provider has such a thing."""
    if provider.without_nodes is None:
        yield request.getfixturevalue("cluster_with_nodes").api
        return
    with provider.without_nodes(tmp_path_factory.mktemp("control-plane")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster(some_cluster: KubeApi, provider: Provider) -> KubeApi:
    """The API of a cluster that knows our resources."""
    if provider.without_nodes is None:
        remove_traces(some_cluster)
    some_cluster.kubectl("apply", "--server-side", "-f", str(DEFINITIONS))
    some_cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *ESTABLISHED)
    return some_cluster


@pytest.fixture(scope="module")
def nodes(cluster_with_nodes: PodCluster, provider: Provider) -> PodCluster:
    """A cluster that runs pods, and in which nothing of Wattfleet is."""
    if provider.without_nodes is None:
        remove_traces(cluster_with_nodes.api)
    return cluster_with_nodes


@pytest.fixture(scope="module")
def helm(cluster: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(HELM, cluster.kubeconfig, tmp_path_factory.mktemp("helm"))


@pytest.fixture
def namespace(cluster: KubeApi) -> Iterator[str]:
    """A namespace with the strictest pod security."""
    name = f"charts-{secrets.token_hex(4)}"
    strictest = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": strictest}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def release(helm: Helm, namespace: str) -> Iterator[str]:
    """The platform as it is with hardly any values; returns its namespace, which is its name as well."""
    helm("install", namespace, *IDLE, "--namespace", namespace)
    yield namespace
    helm("uninstall", namespace, "--namespace", namespace, "--ignore-not-found")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that told nothing of what it promised has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and broken_promises(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was told, how it ended and how long it took, what it waited for to begin with included."""
    took_s: dict[str, float] = {}
    ended: dict[str, str] = {}
    notes: dict[str, str] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            ended[report.nodeid] = _ending(outcome, report)
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if isinstance(report, pytest.TestReport):
            took_s[report.nodeid] = took_s.get(report.nodeid, 0.0) + report.duration
            notes.update((report.nodeid, f" ({text})") for name, text in report.user_properties if name == "note")
    terminalreporter.section("Stories")
    for story, ending in sorted(ended.items()):
        file, _, name = story.partition("::")
        what = name.removeprefix("test_").replace("_", " ")
        about = Path(file).stem.removeprefix("test_e2e_").replace("_", " ")
        terminalreporter.write_line(f"{took_s.get(story, 0):7.1f} s  {ending:8}  {about}: {what}{notes.get(story, '')}")
    counts = {word: sum(ending.startswith(word) for ending in ended.values()) for word in ("told", "FAILED", "skipped")}
    terminalreporter.write_line(", ".join(f"{count} {word}" for word, count in counts.items()))
    for tier in broken_promises(terminalreporter):
        terminalreporter.write_line(f"FAILED: E2E_TIERS promises tier {tier}, and every story of it was skipped")


def broken_promises(reporter: pytest.TerminalReporter) -> set[int]:
    """The tiers that were promised and begun, and of which nothing was told."""
    tiers: dict[str, set[int]] = {
        outcome: {
            dict(report.user_properties)[TIER]
            for report in reporter.stats.get(outcome, [])
            if isinstance(report, pytest.TestReport)  # not of a file that could not be read
        }
        for outcome in ("passed", "failed", "error", "skipped")
    }
    return (PROMISED & tiers.pop("skipped")) - set().union(*tiers.values())


def _ending(outcome: str, report: pytest.TestReport) -> str:
    if outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return f"skipped ({reason.removeprefix('Skipped: ')})"
    return "told" if outcome == "passed" else "FAILED"
