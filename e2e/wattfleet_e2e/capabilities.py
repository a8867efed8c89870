"""What stories ask of a cluster: pods from all of them, the rest by name, since not every cluster has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from wattfleet_e2e.kube_api import KubeApi

ADDRESS = "E2E_ADDRESS_OF_THIS_MACHINE"


class Capability(Enum):
    """The values are for those who read why a story was left out."""

    PROCESS_CONTROL = "process_control (an API server that can be killed)"
    AUDIT_LOG = "audit_log (a record of who asked the API server for what)"
    BESIDE = f"beside (an address at which pods reach this machine, in {ADDRESS})"
    NODES_ARE_MACHINES = "nodes_are_machines (nodes that this suite makes itself)"


@dataclass(frozen=True)
class Beside:
    """Where programs run that pods reach: their address, how one is started, `host:port` on this side for a port."""

    address: str
    command: Callable[[Sequence[str]], list[str]]
    reach: Callable[[int], str]


class PodCluster(Protocol):
    """A cluster whose nodes run pods."""

    @property
    def api(self) -> KubeApi:
        """Its API, for an administrator."""

    @property
    def beside(self) -> Beside:
        """The machine beside it; only where BESIDE is among the capabilities."""

    def load_image(self, archive: Path) -> None:
        """Every node can run containers of the images in `archive` (of docker or OCI) from here on."""

    def forward(self, namespace: str, service: str, port: int, at: int = 0) -> str:
        """`http://127.0.0.1:…`, which leads to the Service; at: the port here, if it matters which."""
