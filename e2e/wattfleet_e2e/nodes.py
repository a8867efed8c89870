"""A whole Kubernetes cluster as processes of this machine: a control plane and real nodes, without Docker.

Each node, and the control plane's network, is a machine of its own (`machines.py`); nothing of the host changes. It
takes root, control groups of version 1, and the programs that setup/node_programs.py installs.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_e2e import addons, control_groups, network
from wattfleet_e2e.capabilities import Beside
from wattfleet_e2e.control_plane import ControlPlane
from wattfleet_e2e.forward import Forward
from wattfleet_e2e.images import USER_ID, static_image
from wattfleet_e2e.machines import Machine
from wattfleet_e2e.node import PAUSE_IMAGE, Node, network_plugins
from wattfleet_e2e.place import LOOPBACK, Place, write_certificate

_NEEDED = ("containerd", "ctr", "runc", "conntrack", "iptables", "ip", "nsenter", "unshare", "setpriv")
_BUILT = {"controlplane": ("kubelet", "kube-proxy", "kube-scheduler"), "coredns": ("coredns", "pause", "volumes")}
_READY_WITHIN_S = 120
_SERVED_WITHIN_S = 30


@dataclass(frozen=True)
class Programs:
    """The folders that setup/controlplane.py and setup/coredns.py made."""

    kubernetes: Path
    others: Path


def why_not(programs: Programs) -> str | None:
    """What a cluster with nodes lacks on this machine; None when it has everything."""
    if os.geteuid() != 0:
        return "nodes take root"
    if not control_groups.are_there():
        return "nodes take control groups of version 1"
    folders = {"controlplane": programs.kubernetes, "coredns": programs.others}
    unbuilt = [name for part, names in _BUILT.items() for name in names if not (folders[part] / name).exists()]
    missing = [name for name in _NEEDED if not shutil.which(name)] + unbuilt
    missing += [] if network_plugins() else ["network plugins"]
    return f"nodes take {', '.join(missing)}: `make e2e` builds or installs them" if missing else None


class Cluster:
    """`with Cluster(programs, folder) as cluster:`; when it is entered all nodes are Ready and names are resolved."""

    def __init__(self, programs: Programs, folder: Path, nodes: int = 3) -> None:
        self._programs = programs
        self._folder = folder
        self._name = secrets.token_hex(3)
        self._stack = ExitStack()
        self._count = nodes
        self._loaded: set[Path] = set()
        self._machine = self._machine_of("control-plane")
        self.machines = [self._machine, *(self._machine_of(f"n{number}") for number in range(1, nodes + 1))]
        self.control_plane: ControlPlane
        self.nodes: Sequence[Node]

    def __enter__(self) -> "Cluster":
        control_groups.remove_left_over()
        with ExitStack() as stack:
            self._stack = stack
            _, *machines = self.machines
            stack.callback(_stop, self.machines)
            for machine in self.machines:
                machine.start()
            network.connect(self._machine, machines)
            self._start_control_plane(machines)
            # What is thrown away need not be stopped in order: the nodes go first, then the API server at once.
            stack.callback(self.control_plane.api_server.kill)
            stack.callback(_stop, machines)
            self._start_nodes(machines)
            self._start_addons()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def api(self) -> ControlPlane:
        """Its API, for an administrator."""
        return self.control_plane

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """As the control plane's: what kubectl prints, or CommandFailed."""
        return self.control_plane.kubectl(*arguments, given=given)

    def apply(self, *manifests: dict[str, Any]) -> str:
        """Creates or changes what `manifests` describe, as `kubectl apply` does."""
        return self.control_plane.apply(*manifests)

    def load_image(self, archive: Path) -> None:
        """Every node can run containers of the image in `archive` (of docker or OCI) from here on."""
        if archive in self._loaded:
            return
        self._loaded.add(archive)
        with ThreadPoolExecutor(self._count) as pool:
            list(pool.map(lambda node: node.load_image(archive), self.nodes))

    def lose(self, node: Node) -> None:
        """Its machine ends at once with all that it runs, as when its power is cut; its disk stays.

        Not the first node: Services are reached from here by it, and it carries what resolves names.
        """
        node.machine.stop()
        node.stop()
        connected = partial(network.is_connected, self._machine, node.number)
        wait_until(lambda: not connected(), _READY_WITHIN_S, f"the cable of {node.name} is gone")

    def bring_back(self, node: Node) -> None:
        """Starts the machine of a lost node, and returns when the node is Ready."""
        node.machine.start()
        network.connect_node(self._machine, node.number, node.machine, self._count)
        node.start_containerd()
        node.start()
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={_READY_WITHIN_S}s", "node", node.name)

    def forward(self, namespace: str, service: str, port: int, at: int = 0) -> str:
        """`http://127.0.0.1:…`, which leads to the Service, as long as the cluster is up; at: the port here."""
        return f"http://{self.reach(self._address(namespace, service), port, at)}"

    def wait_until_served(self, namespace: str, service: str, port: int) -> None:
        """Until the Service answers on every node.

        That its pods are Ready is not enough. Each node's kube-proxy hears of it on its own: until then the node
        refuses, and while it changes its rules a datagram, such as a question for an address, is lost, which a
        resolver notices only seconds later.
        """
        address = self._address(namespace, service)
        for node in self.nodes:
            reached = partial(node.reaches, address, port)
            wait_until(reached, _SERVED_WITHIN_S, f"{namespace}/{service} is reached from {node.name}")

    def reach(self, address: str, port: int, at: int = 0) -> str:
        """`host:port` on this side for an address of the cluster: of a Service, a pod or a node."""
        program = self._programs.others / "forward"
        forward = Forward(program, self._machine, f"{address}:{port}", at)
        self._stack.callback(forward.stop)
        return forward.address

    def run(self, *argv: str) -> str:
        """What a program prints that is run in the control plane's network, where nodes, pods and Services are."""
        return self._machine.run_in_network(*argv)

    @property
    def beside(self) -> Beside:
        """The control plane's network, where a program is reached by pods."""
        return Beside(
            network.GATEWAY,
            lambda argv: self._machine.network_command(*argv),
            lambda port: self.reach(network.GATEWAY, port),
        )

    def _address(self, namespace: str, service: str) -> str:
        return self.kubectl("get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")

    def _machine_of(self, name: str) -> Machine:
        # A short name, since it becomes a host name; the other part keeps two clusters on one machine apart.
        return Machine(f"{self._name}-{name}", self._programs.others / "pause", self._folder / name)

    def _start_control_plane(self, machines: Sequence[Machine]) -> None:
        names = ("kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "kubernetes.default", "kubernetes")
        folder = self._folder / "api"
        addresses = (LOOPBACK, network.GATEWAY, network.FIRST_SERVICE)
        write_certificate(folder / "certificates", addresses, (*names, "localhost"))
        place = Place(
            network.GATEWAY,
            "0.0.0.0",  # noqa: S104 (of a network of its own)
            lambda argv: self._machine.network_command(*argv),
            lambda port: self.reach(LOOPBACK, port),
            (
                "--allow-privileged=true",
                "--kubelet-preferred-address-types=InternalIP",
                "--enable-aggregator-routing=true",
            ),
            ("--node-monitor-period=2s", "--node-monitor-grace-period=16s"),
        )
        people = {f"system:node:n{number + 1}": "system:nodes" for number in range(len(machines))}
        people |= {user: user for user in ("system:kube-proxy", "system:kube-scheduler")}
        self.control_plane = ControlPlane(self._programs.kubernetes, folder, place, people)
        self._stack.enter_context(self.control_plane)
        self._start_scheduler()

    def _start_scheduler(self) -> None:
        port = free_port()
        scheduler = self.control_plane.program(
            "kube-scheduler",
            f"--kubeconfig={self.control_plane.kubeconfig_there('system:kube-scheduler')}",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port}",
            health_port=port,
        )
        self._started(scheduler)

    def _started(self, program: Program) -> None:
        self._stack.callback(lambda: program.running and program.kill())
        program.start()

    def _start_nodes(self, machines: Sequence[Machine]) -> None:
        kubeconfig = self.control_plane.kubeconfig_there
        self.nodes = [
            Node(number, machine, self._programs.kubernetes, kubeconfig)
            for number, machine in enumerate(machines, start=1)
        ]
        for node in self.nodes:
            self._stack.callback(node.stop)
            node.start_containerd()
        images = self._folder / "images"
        programs = {PAUSE_IMAGE: "pause", addons.DNS_IMAGE: "coredns"}
        archives = [
            static_image(image, self._programs.others / name, (f"/{name}",), images, user_id=USER_ID)
            for image, name in programs.items()
        ]
        for archive in archives:
            self.load_image(archive)
        for node in self.nodes:
            node.start()

    def _start_addons(self) -> None:
        volumes = self._folder / "volumes"
        volumes.mkdir()
        config = self.control_plane.kubeconfig_there("admin")
        argv = [str(self._programs.others / "volumes"), f"--kubeconfig={config}", f"--folder={volumes}"]
        self._started(Program(self._machine.network_command(*argv), self._folder / "volumes.log", lambda: True))
        self.apply(addons.storage_class(), *addons.dns())
        wait_until(self._all_nodes_known, _READY_WITHIN_S, "all nodes have registered")
        limit = f"--timeout={_READY_WITHIN_S}s"
        self.kubectl("wait", "--for=condition=Ready", limit, "node", "--all")
        self.kubectl("rollout", "status", limit, "-n", "kube-system", "deployment/coredns")
        self.wait_until_served("kube-system", "kube-dns", 53)

    def _all_nodes_known(self) -> bool:
        return len(self.kubectl("get", "nodes", "-o", "name").split()) == self._count


def _stop(machines: Sequence[Machine]) -> None:
    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(Machine.stop, machines))
