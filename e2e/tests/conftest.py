"""One control plane for all stories that need no node (tier 1), and one cluster for those that do (tier 2).

What a machine cannot do is skipped with its reason, unless E2E_TIERS names the tier: then it is a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from wattfleet_e2e.control_plane import ControlPlane
from wattfleet_e2e.nodes import Cluster, Programs, why_not

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".cache" / "controlplane"
OTHER_PROGRAMS = ROOT / ".cache" / "coredns"
DEFINITIONS = ROOT / "charts" / "wattfleet-crds" / "templates"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows our resources."""
    with ControlPlane(PROGRAMS, tmp_path_factory.mktemp("control-plane")) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(DEFINITIONS))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        yield cluster


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three nodes."""
    programs = Programs(PROGRAMS, OTHER_PROGRAMS)
    if reason := why_not(programs):
        if "2" in os.environ.get("E2E_TIERS", "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)
    with Cluster(programs, tmp_path_factory.mktemp("nodes")) as cluster:
        yield cluster


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was told, how it ended and how long it took, what it waited for to begin with included."""
    took_s: dict[str, float] = {}
    ended: dict[str, str] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            ended[report.nodeid] = _ending(outcome, report)
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if isinstance(report, pytest.TestReport):
            took_s[report.nodeid] = took_s.get(report.nodeid, 0.0) + report.duration
    terminalreporter.section("Stories")
    for story, ending in sorted(ended.items()):
        file, _, name = story.partition("::")
        what = name.removeprefix("test_").replace("_", " ")
        about = Path(file).stem.removeprefix("test_e2e_").replace("_", " ")
        terminalreporter.write_line(f"{took_s.get(story, 0):7.1f} s  {ending:8}  {about}: {what}")
    counts = {word: sum(ending.startswith(word) for ending in ended.values()) for word in ("told", "FAILED", "skipped")}
    terminalreporter.write_line(", ".join(f"{count} {word}" for word, count in counts.items()))


def _ending(outcome: str, report: pytest.TestReport) -> str:
    if outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return f"skipped ({reason.removeprefix('Skipped: ')})"
    return "told" if outcome == "passed" else "FAILED"
