"""One control plane for all stories that need no node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from wattfleet_e2e.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".cache" / "controlplane"
DEFINITIONS = ROOT / "charts" / "wattfleet-crds" / "templates"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows our resources."""
    with ControlPlane(PROGRAMS, tmp_path_factory.mktemp("control-plane")) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(DEFINITIONS))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        yield cluster
