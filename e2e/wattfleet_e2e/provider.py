"""Where the stories are told: on what this machine brings up itself, in kind, or in the cluster of a kubeconfig.

`E2E_PROVIDER` says which; without it the machine itself is taken (`local`), never a cluster that it happens to know.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wattfleet_e2e import kind, nodes
from wattfleet_e2e.capabilities import ADDRESS, Capability, PodCluster
from wattfleet_e2e.control_plane import ControlPlane
from wattfleet_e2e.given import GivenCluster, MarkingApi, Run, borrowed, loader, run_command
from wattfleet_e2e.kube_api import KubeApi

PROVIDER = "E2E_PROVIDER"
LOAD_IMAGE = "E2E_LOAD_IMAGE"


class NoProvider(Exception):
    """The one that was asked for cannot be had; the text is a sentence that says why."""


@dataclass(frozen=True)
class Provider:
    """with_nodes: brings a cluster up in a folder; why_no_nodes: what this machine lacks for that, if anything.

    without_nodes: an API that runs nothing, for the stories that need no more; None: they get the cluster with nodes.
    brings_images: whether the cluster has our images only from us.
    """

    name: str
    capabilities: frozenset[Capability]
    with_nodes: Callable[[Path], AbstractContextManager[PodCluster]]
    without_nodes: Callable[[Path], AbstractContextManager[KubeApi]] | None = None
    why_no_nodes: str | None = None
    brings_images: bool = True

    def lacks(self, needed: Sequence[Capability]) -> str | None:
        """Why a story that needs all these cannot be told; None if it can."""
        missing = [one.value for one in needed if one not in self.capabilities]
        return f"{self.name} has no {' and no '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Machine:
    """This machine, as far as it matters: what it was told, what is installed, how a command is run."""

    environment: Mapping[str, str]
    find: kind.Find = shutil.which
    run: Run = run_command


def choose(programs: nodes.Programs, machine: Machine) -> Provider:
    """The one that E2E_PROVIDER names, or `local`. Raises NoProvider."""
    name = machine.environment.get(PROVIDER) or "local"
    if name == "local":
        return _local(programs)
    if name not in ("kind", "kubeconfig"):
        raise NoProvider(f"{PROVIDER} is local, kind or kubeconfig, and not {name!r}")
    kubectl = machine.find("kubectl") or str(programs.kubernetes / "kubectl")
    if not Path(kubectl).exists():
        raise NoProvider("kubectl is not installed: https://kubernetes.io/docs/tasks/tools/")
    given = _kind(Path(kubectl), machine) if name == "kind" else _kubeconfig(Path(kubectl), machine)
    beside = {Capability.BESIDE} if machine.environment.get(ADDRESS) else set()
    brings_images = name == "kind" or bool(machine.environment.get(LOAD_IMAGE))
    return Provider(name, frozenset(beside), given, brings_images=brings_images)


def _local(programs: nodes.Programs) -> Provider:
    return Provider(
        "local",
        frozenset(Capability),
        lambda folder: nodes.Cluster(programs, folder),
        lambda folder: ControlPlane(programs.kubernetes, folder),
        nodes.why_not(programs),
    )


def _kind(kubectl: Path, machine: Machine) -> Callable[[Path], AbstractContextManager[PodCluster]]:
    if missing := kind.why_not(machine.environment, machine.find):
        raise NoProvider(missing)

    @contextmanager
    def given(folder: Path) -> Iterator[PodCluster]:
        kubeconfig = folder / "kubeconfig"
        with kind.made(kubeconfig, machine.run):
            load = loader(kind.LOAD_IMAGE, machine.run)
            address = machine.environment.get(ADDRESS, "")
            with GivenCluster(MarkingApi(kubectl, kubeconfig), folder, load, address) as cluster:
                yield cluster

    return given


def _kubeconfig(kubectl: Path, machine: Machine) -> Callable[[Path], AbstractContextManager[PodCluster]]:
    named = machine.environment.get("KUBECONFIG", "")
    if not Path(named).is_file():
        what = f"which is not {named!r}" if named else "which is not set"
        raise NoProvider(f"{PROVIDER}=kubeconfig takes one file in KUBECONFIG, {what}")
    template = machine.environment.get(LOAD_IMAGE, "")
    if template and "{archive}" not in template:
        raise NoProvider(f"{LOAD_IMAGE} has to say where the archive's path goes: {{archive}}")

    @contextmanager
    def given(folder: Path) -> Iterator[PodCluster]:
        api = MarkingApi(kubectl, Path(named))
        address = machine.environment.get(ADDRESS, "")
        with borrowed(api), GivenCluster(api, folder, loader(template, machine.run), address) as cluster:
            yield cluster

    return given
