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
