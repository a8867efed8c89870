"""A node of a cluster: containerd, the kubelet and kube-proxy on a machine of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from wattfleet_tenants.testing.programs import Program

from wattfleet_e2e import network
from wattfleet_e2e.machines import Machine

PAUSE_IMAGE = "wattfleet.io/pause:1"
IMPORT_IMAGE = ("ctr", "--namespace", "k8s.io", "images", "import")
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_SOCKET = "/run/containerd/containerd.sock"


def network_plugins() -> Path | None:
    """The folder of the container network's plugins, if this machine has one."""
    return next((folder for folder in _PLUGIN_FOLDERS if (folder / "bridge").exists()), None)


class _OnMachine(Program):
    """A program on a machine. How to get there is known only once the machine is up."""

    def __init__(self, machine: Machine, argv: list[str], log: Path, ready: Callable[[], bool]) -> None:
        super().__init__(argv, log, ready)
        self._machine = machine
        self._own_argv = argv
        self.started = False

    def start(self) -> None:
        self.argv = self._machine.command(*self._own_argv)
        self.started = True
        super().start()


class Node:
    """Node `number` (from 1) on `machine`. kubeconfig: the file for a user, such as `system:node:n1`."""

    def __init__(self, number: int, machine: Machine, programs: Path, kubeconfig: Callable[[str], Path]) -> None:
        self.name = f"n{number}"
        self.address = network.address(number)
        self.machine = machine
        self.number = number
        self._programs = programs
        self._kubeconfig = kubeconfig
        config = str(self._containerd_config())
        self.containerd = self._program("containerd", "--config", config, ready=self._containerd_answers)
        self.kubelet = self._kubelet()
        self.proxy = self._proxy()

    def start_containerd(self) -> None:
        """Images can be imported from here on."""
        self.containerd.start()

    def start(self) -> None:
        """Once containerd runs: the kubelet registers the node and runs its pods, kube-proxy leads to Services."""
        self.kubelet.start()
        self.proxy.start()

    def stop(self) -> None:
        """Kills its programs; what they run ends with the machine only."""
        for program in (self.proxy, self.kubelet, self.containerd):
            if program.started:
                program.kill()

    def reaches(self, address: str, port: int) -> bool:
        """Whether a connection from here to an address of the cluster comes about."""
        connect = f"import socket; socket.create_connection(({address!r}, {port}), timeout=1)"
        return _succeeds(lambda: self.machine.run_in_network(sys.executable, "-c", connect))

    def load_image(self, archive: Path) -> None:
        """Its containers can be of this image from here on."""
        self.machine.run(*IMPORT_IMAGE, str(archive))

    def kill_container(self, container: str) -> None:
        """SIGKILL to the first process of the container with this id, with which the others end."""
        self.machine.run("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container)

    def _program(
        self, name: str, *arguments: str, path: str = "", ready: Callable[[], bool] = lambda: True
    ) -> _OnMachine:
        return _OnMachine(self.machine, [path or name, *arguments], self.machine.folder / f"{name}.log", ready)

    def _containerd_answers(self) -> bool:
        return _succeeds(lambda: self.machine.run("ctr", "version"))

    def _containerd_config(self) -> Path:
        folder = self.machine.folder
        networks = folder / "networks"
        networks.mkdir(parents=True, exist_ok=True)
        (networks / "10-pods.conflist").write_text(json.dumps(self._pod_network()))
        path = folder / "containerd.toml"
        path.write_text(f"""version = 2
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{network_plugins()}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "runc"
      SystemdCgroup = false
""")
        return path

    def _pod_network(self) -> dict[str, object]:
        ranges = [[{"subnet": network.pods(self.number)}]]
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}

    def _kubelet(self) -> _OnMachine:
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": "/",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "resolvConf": "",
            "clusterDNS": [network.DNS_SERVICE],
            "clusterDomain": "cluster.local",
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
            "imageGCHighThresholdPercent": 100,
            "nodeLeaseDurationSeconds": 12,
            "nodeStatusUpdateFrequency": "4s",
            "enableControllerAttachDetach": True,
        }
        path = self.machine.folder / "kubelet.yaml"
        path.write_text(yaml.safe_dump(config))
        return self._program(
            "kubelet",
            f"--config={path}",
            f"--kubeconfig={self._kubeconfig(f'system:node:{self.name}')}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            path=str(self._programs / "kubelet"),
        )

    def _proxy(self) -> _OnMachine:
        return self._program(
            "kube-proxy",
            f"--kubeconfig={self._kubeconfig('system:kube-proxy')}",
            f"--hostname-override={self.name}",
            f"--cluster-cidr={network.PODS}",
            "--proxy-mode=iptables",
            "--iptables-min-sync-period=100ms",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--oom-score-adj=0",
            path=str(self._programs / "kube-proxy"),
        )


def _succeeds(attempt: Callable[[], str]) -> bool:
    try:
        attempt()
    except subprocess.CalledProcessError:
        return False
    return True
