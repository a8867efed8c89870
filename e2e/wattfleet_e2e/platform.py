"""Wattfleet in a cluster with nodes: installed by Helm, used, troubled, and taken away again however it is."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_e2e.capabilities import PodCluster
from wattfleet_e2e.helm import Helm, HelmRefuses
from wattfleet_e2e.nodes import Cluster

RELEASE = "home"
_DEFINITIONS = "definitions"
_KINDS = ("households", "shards")
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_INSTALLED_WITHIN_S = 300
_READY_WITHIN_S = 180
_GONE_WITHIN_S = 180
_GONE = f"--timeout={_GONE_WITHIN_S}s"


def platform_on(cluster: PodCluster, namespace: str, cache: Path, folder: Path) -> "Platform":
    """A platform to be installed into `namespace`; the images in `cache` are on all nodes. folder: for Helm."""
    for archive in images_in(cache):
        cluster.load_image(archive)
    return Platform(cluster, Helm(cache / "helm" / "helm", cluster.api.kubeconfig, folder), namespace)


def images_in(cache: Path) -> list[Path]:
    """The archives of all images that the platform takes; none before `make e2e` has built them."""
    return sorted((cache / "images").glob("*.tar"))


@dataclass(frozen=True)
class Platform:
    """The release `home` in a namespace of its own."""

    cluster: PodCluster
    helm: Helm
    namespace: str

    @contextmanager
    def installed(self, charts: Path, values: Mapping[str, Any], *beforehand: dict[str, Any]) -> Iterator[None]:
        """With definitions and platform of the charts in this folder, all pods ready, until the end.

        Its namespace lets in no pod that is not restricted. beforehand: what is in there already.
        """
        about = {"name": self.namespace, "labels": _RESTRICTED}
        file = self.helm.folder / f"{self.namespace}.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        try:
            self.cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": about}, *beforehand)
            self.change_definitions("install", charts)
            self.change("install", charts / "wattfleet", "-f", file)
            yield
        finally:
            self._remove()

    def change_definitions(self, how: str, charts: Path) -> None:
        """Installs or upgrades the definitions of our resources."""
        self._helm(how, _DEFINITIONS, charts / "wattfleet-crds")

    def change(self, how: str, *arguments: str | Path) -> None:
        """Installs, upgrades or rolls back the platform; returns when all pods are ready."""
        wait = ("--wait", f"--timeout={_INSTALLED_WITHIN_S}s")
        self._helm(how, RELEASE, *arguments, "-n", self.namespace, *wait)

    def install_agent(self, charts: Path, release: str, household: str, *settings: str) -> None:
        """An agent that sends for this household, in the namespace of the platform; settings: more values."""
        values = (f"home.existingSecret=home-{household}", *settings)
        self._helm(
            *("install", release, charts / "wattfleet-agent", "-n", self.namespace),
            *(f"--set={value}" for value in values),
        )

    def _remove(self) -> None:
        """Takes it away with everything that it made, whether it works or not."""
        for release in json.loads(self.helm("list", "-n", self.namespace, "-o", "json")):
            self.helm("uninstall", release["name"], "-n", self.namespace, "--wait", _GONE)
        for kind in _KINDS:
            # Nobody is there any more who would let go of them.
            for name in self.kubectl("get", kind, "-o", "name").split():
                self.kubectl("patch", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
            self.kubectl("delete", kind, "--all", _GONE)
        self.helm("uninstall", _DEFINITIONS, "--ignore-not-found")
        self.kubectl("delete", "namespace", self.namespace, _GONE)

    def kubectl(self, *arguments: str) -> str:
        """As the administrator: what kubectl prints, or CommandFailed."""
        return self.cluster.api.kubectl(*arguments)

    def trouble(self) -> str:
        """What the pods of the platform are up to."""
        warnings = ("get", "events", "-n", self.namespace, "--field-selector=type=Warning")
        return self.kubectl("get", "pods", "-A", "-o", "wide") + self.kubectl(*warnings)

    def resource(self, kind: str, name: str) -> dict[str, Any]:
        """A resource that is in no namespace, or in that of the platform."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))
        return found

    def readiness(self, kind: str, name: str) -> tuple[bool, str]:
        """Whether the resource says that it is Ready, and its reason; empty before it has said anything."""
        conditions = self.resource(kind, name).get("status", {}).get("conditions", [])
        said = (one for one in conditions if one["type"] == "Ready")
        return next(((one["status"] == "True", one["reason"]) for one in said), (False, ""))

    def wait_until_ready(self, kind: str, name: str) -> None:
        """Until the resource says that it is; raises TimeoutError with what it says instead."""
        try:
            wait_until(lambda: self.readiness(kind, name)[0], _READY_WITHIN_S, f"{kind} {name} is Ready", every_s=0.5)
        except TimeoutError as error:
            error.add_note(json.dumps(self.resource(kind, name).get("status"), indent=1))
            error.add_note(self.trouble())
            raise

    def secrets(self) -> dict[str, Any]:
        """What Secrets of the platform hold, those of Helm's own left aside."""
        found = json.loads(self.kubectl("get", "secrets", "-n", self.namespace, "-o", "json"))["items"]
        return {one["metadata"]["name"]: one["data"] for one in found if not one["type"].startswith("helm.sh/")}

    def store(self, shard: str) -> httpx.Client:
        """A door to the shard's store that holds as long as the store's Service."""
        return httpx.Client(base_url=self.cluster.forward(self.namespace, f"store-{shard}", 8428), trust_env=False)

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """The platform's pods with these labels (`component` for app.kubernetes.io/component) that are to stay."""
        wanted = ",".join(f"app.kubernetes.io/{label}={value}" for label, value in labels.items())
        found = json.loads(self.kubectl("get", "pods", "-n", self.namespace, "-l", wanted, "-o", "json"))["items"]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    @property
    def local(self) -> Cluster:
        """The cluster with its machines; only where NODES_ARE_MACHINES is among the capabilities."""
        if not isinstance(self.cluster, Cluster):
            raise TypeError("these nodes were made by somebody else")
        return self.cluster

    def kill(self, pod: str) -> None:
        """SIGKILL to its processes, as when memory is short; Kubernetes starts them again."""
        found = self.resource("pod", pod)
        (node,) = (one for one in self.local.nodes if one.name == found["spec"]["nodeName"])
        for container in found["status"]["containerStatuses"]:
            node.kill_container(container["containerID"].removeprefix("containerd://"))

    @contextmanager
    def away(self, pod: str) -> Iterator[None]:
        """The pod is killed, and until the end no node takes the one that comes after it."""
        everywhere = [node.name for node in self.local.nodes]
        self.kubectl("cordon", *everywhere)
        try:
            self.kill(pod)
            self.kubectl("delete", "pod", pod, "-n", self.namespace, "--force", "--grace-period=0")
            yield
        finally:
            self.kubectl("uncordon", *everywhere)

    def home_file(self, household: str) -> str:
        """What the operator gives the household."""
        path = "jsonpath={.data.home\\.json}"
        kept = self.kubectl("get", "secret", f"home-{household}", "-n", self.namespace, "-o", path)
        return base64.b64decode(kept).decode()

    def _helm(self, *arguments: str | Path) -> None:
        try:
            self.helm(*arguments)
        except HelmRefuses as error:
            error.add_note(self.trouble())
            raise
