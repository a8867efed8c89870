"""A cluster that somebody else made, as far as a kubeconfig leads into it, and that it is left as it was.

Whatever stories make outside of a namespace, and each namespace itself, bears a label; by that it is removed.
"""

import json
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from wattfleet_tenants.testing.programs import Program, free_port

from wattfleet_e2e.capabilities import Beside
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.place import LOOPBACK

MARK = "wattfleet.io/stories"
OURS = f"{MARK}=told-here"
OF_THE_CHART = "app.kubernetes.io/part-of=wattfleet"
_OF_THE_WHOLE_CLUSTER = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
CLAIM = "wattfleet-stories"
_WITHOUT_NAMESPACE = ("Namespace", "ClusterRole", "ClusterRoleBinding")
_GONE_WITHIN_S = 180
Run = Callable[[Sequence[str]], str]


class InUse(Exception):
    """The cluster has something that stories would take for theirs; the text says what."""


class MarkingApi(KubeApi):
    """Marks what it makes, so that it is found again."""

    def apply(self, *manifests: dict[str, Any]) -> str:
        """As usual; raises InUse for a namespace that is there and is not ours."""
        return super().apply(*map(self._marked, manifests))

    def is_ours(self, namespace: str) -> bool | None:
        """None: there is no such namespace."""
        found = self.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "json")
        return MARK in json.loads(found)["metadata"].get("labels", {}) if found else None

    def _marked(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["kind"] not in _WITHOUT_NAMESPACE:
            return manifest
        metadata = manifest["metadata"]
        if manifest["kind"] == "Namespace" and self.is_ours(metadata["name"]) is False:
            raise InUse(f"the cluster has a namespace {metadata['name']}, which stories would use and remove")
        key, _, value = OURS.partition("=")
        return {**manifest, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), key: value}}}


class GivenCluster:
    """`with GivenCluster(api, folder, load, address) as cluster:`. load: brings an archive's images to all nodes.

    address: at which pods reach this machine; empty: they do not.
    """

    def __init__(self, api: KubeApi, folder: Path, load: Callable[[Path], None], address: str = "") -> None:
        self.api = api
        self.load_image = load
        self.beside = Beside(address, list, lambda port: f"{address}:{port}")
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> "GivenCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def forward(self, namespace: str, service: str, port: int, at: int = 0) -> str:
        """`http://127.0.0.1:…`, which leads to one pod of the Service for as long as that pod is there."""
        here = at or free_port()
        command = self.api.command("port-forward", "-n", namespace, f"service/{service}", f"{here}:{port}")
        forward = Program(command, self._folder / f"forward-{here}.log", lambda: _listens(here))
        self._stack.callback(lambda: forward.running and forward.kill())
        forward.start()
        return f"http://{LOOPBACK}:{here}"


def loader(template: str, run: Run) -> Callable[[Path], None]:
    """Loads an archive by a command in which `{archive}` stands for its path; none is needed if it is empty."""
    words = shlex.split(template)

    def load(archive: Path) -> None:
        if words:
            run([word.replace("{archive}", str(archive)) for word in words])

    return load


def run_command(argv: Sequence[str]) -> str:
    """What it prints. Raises CommandFailed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{shlex.join(argv)}:\n{done.stderr}")
    return done.stdout


@contextmanager
def borrowed(api: MarkingApi) -> Iterator[None]:
    """Afterwards the cluster is as it was. Raises InUse for one in which somebody has Wattfleet.

    A namespace says that stories are told here: what is found with it is what a run left that was killed, unless
    somebody has installed Wattfleet since then.
    """
    if installed := _installed(api):
        raise InUse(f"the cluster has Wattfleet in namespace {', '.join(installed)}: stories would remove it")
    if api.is_ours(CLAIM):
        remove_traces(api)
    elif found := _definitions(api):
        raise InUse(f"the cluster has {', '.join(found)} already, with all that is of them: stories would remove it")
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CLAIM}})
    try:
        yield
    finally:
        remove_traces(api)
        api.kubectl("delete", "namespace", CLAIM)


def remove_traces(api: KubeApi) -> None:
    """Removes what stories made, and what Helm left of the charts, all but the claim."""
    wait = f"--timeout={_GONE_WITHIN_S}s"
    spaces = api.kubectl("get", "namespaces", "-l", OURS, "-o", "name").split()
    # First those in which an operator may be at work.
    if others := [space for space in spaces if space != f"namespace/{CLAIM}"]:
        api.kubectl("delete", wait, *others)
    if definitions := _definitions(api):
        for resource in api.kubectl("get", ",".join(definitions), "-o", "name").split():
            api.kubectl("patch", resource, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        api.kubectl("delete", "crd", wait, *definitions)
    for label in (OURS, OF_THE_CHART):
        api.kubectl("delete", _OF_THE_WHOLE_CLUSTER, "-l", label)
    api.kubectl("delete", "roles,rolebindings", "-n", "default", "-l", OF_THE_CHART)
    for kind in ("Household", "Shard"):
        api.kubectl("delete", "events", "-n", "default", f"--field-selector=involvedObject.kind={kind}")


def _installed(api: MarkingApi) -> list[str]:
    """The namespaces, none of them ours, in which Helm has installed the chart."""
    bindings = json.loads(api.kubectl("get", "clusterrolebindings", "-l", OF_THE_CHART, "-o", "json"))["items"]
    spaces = {subject["namespace"] for binding in bindings for subject in binding["subjects"]}
    return sorted(space for space in spaces if api.is_ours(space) is False)


def _definitions(api: KubeApi) -> list[str]:
    names = api.kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.name}").split()
    return [name for name in names if name.endswith(".wattfleet.io")]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
