"""A cluster that runs pods: that the one which the suite brings up behaves as a cluster does."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from wattfleet_e2e import control_groups
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.images import USER_ID, static_image
from wattfleet_e2e.kube_api import CommandFailed
from wattfleet_e2e.nodes import Cluster
from wattfleet_tenants.testing.waiting import wait_until

pytestmark = [pytest.mark.nodes, pytest.mark.needs(Capability.NODES_ARE_MACHINES)]

IMAGE = "wattfleet.io/witness:1"
WITNESS = Path(__file__).resolve().parents[2] / ".cache" / "coredns" / "witness"
STORY = "stories"
PORT = 8080
WITHIN_S = 90
LIMIT = f"--timeout={WITHIN_S}s"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
Manifest = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def namespace(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One that takes only pods without any rights, as ours are."""
    nodes.load_image(static_image(IMAGE, WITNESS, ("/witness", "serve"), tmp_path_factory.mktemp("images")))
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    nodes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STORY, "labels": strict}})
    yield
    nodes.kubectl("delete", "namespace", STORY, LIMIT)


def pod(name: str, *arguments: str, **container: Any) -> Manifest:
    """The template of a witness; container: what it has beside the usual."""
    rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    witness = {
        "name": "witness",
        "image": IMAGE,
        "args": list(arguments),
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
        "securityContext": rights,
        **container,
    }
    user = {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {"containers": [witness], "securityContext": user, "terminationGracePeriodSeconds": 0}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def workload(kind: str, name: str, replicas: int, template: Manifest, **spec: Any) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": STORY},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            **spec,
        },
    }


def service(name: str) -> Manifest:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": STORY}, "spec": spec}


def start(nodes: Cluster, *manifests: Manifest) -> None:
    """Applies them and waits until the workloads among them are there, and served by their Services on all nodes."""
    nodes.apply(*manifests)
    named = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    for kind, name in named:
        if kind != "Service":
            rollout(nodes, kind, name)
    for kind, name in named:
        if kind == "Service":
            nodes.wait_until_served(STORY, name, 80)


def rollout(nodes: Cluster, kind: str, name: str) -> None:
    nodes.kubectl("rollout", "status", "-n", STORY, LIMIT, f"{kind.lower()}/{name}")


def pods(nodes: Cluster, app: str) -> list[Manifest]:
    found = nodes.kubectl("get", "pods", "-n", STORY, "-l", f"app={app}", "-o", "json")
    items: list[Manifest] = json.loads(found)["items"]
    return [item for item in items if "deletionTimestamp" not in item["metadata"]]


def names(items: list[Manifest]) -> set[str]:
    return {item["metadata"]["name"] for item in items}


def said_by(nodes: Cluster, pod: str, *command: str) -> str:
    return nodes.kubectl("exec", "-n", STORY, pod, "--", "/witness", *command).strip()


def node_is_ready(nodes: Cluster, name: str) -> str:
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return nodes.kubectl("get", "node", name, "-o", f"jsonpath={path}")


@pytest.fixture(scope="module")
def trio(nodes: Cluster) -> str:
    """Three witnesses behind a Service, each on a node of its own if there is room."""
    start(nodes, service("trio"), workload("Deployment", "trio", 3, pod("trio")))
    return "trio"


def test_three_nodes_are_ready(nodes: Cluster) -> None:
    assert [node_is_ready(nodes, node.name) for node in nodes.nodes] == ["True"] * 3


def test_a_deployment_spreads_over_the_nodes_and_answers_by_its_services_name(nodes: Cluster, trio: str) -> None:
    items = pods(nodes, trio)
    assert {item["spec"]["nodeName"] for item in items} == {"n1", "n2", "n3"}
    answers = set()
    for item in items:
        asker = item["metadata"]["name"]
        answers.add(said_by(nodes, asker, "fetch", "http://trio"))
        answers.add(said_by(nodes, asker, "fetch", f"http://trio.{STORY}.svc.cluster.local"))
    assert answers <= names(items)


def test_every_pod_of_a_service_answers_to_the_tests(nodes: Cluster, trio: str) -> None:
    url = nodes.forward(STORY, trio, 80)
    everybody = names(pods(nodes, trio))
    seen: set[str] = set()

    def all_seen() -> bool:
        # Each request by a connection of its own, since it is connections that are spread.
        seen.add(httpx.get(url, trust_env=False, timeout=5).text.strip())
        return seen >= everybody

    wait_until(all_seen, 30, "each pod has answered once")
    assert seen == everybody


def test_a_service_answers_at_a_port_of_every_node(nodes: Cluster, trio: str) -> None:
    outside = service(trio)
    outside["metadata"]["name"] = "outside"
    nodes.apply({**outside, "spec": {**outside["spec"], "type": "NodePort"}})
    port = int(nodes.kubectl("get", "service", "outside", "-n", STORY, "-o", "jsonpath={.spec.ports[0].nodePort}"))
    for node in nodes.nodes:
        url = f"http://{nodes.reach(node.address, port)}"
        wait_until(lambda url=url: answer(url) in names(pods(nodes, trio)), WITHIN_S, f"{node.name} leads there")


def answer(url: str) -> str:
    try:
        return httpx.get(url, trust_env=False, timeout=5).text.strip()
    except httpx.TransportError:
        return ""


def test_a_volume_keeps_its_data_over_its_pods_end(nodes: Cluster) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    mount = [{"name": "data", "mountPath": "/data"}]
    keeper = pod("keeper", "-folder=/data", volumeMounts=mount)
    start(
        nodes,
        service("keeper"),
        workload("StatefulSet", "keeper", 1, keeper, serviceName="keeper", volumeClaimTemplates=[claim]),
    )
    url = f"{nodes.forward(STORY, 'keeper', 80)}/files/reading"
    assert httpx.put(url, content=b"21.5", trust_env=False).is_success
    (before,) = pods(nodes, "keeper")
    nodes.kubectl("delete", "pod", "-n", STORY, "keeper-0", LIMIT)
    rollout(nodes, "StatefulSet", "keeper")
    (after,) = pods(nodes, "keeper")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert said_by(nodes, "keeper-0", "fetch", f"http://localhost:{PORT}/files/reading") == "21.5"


def test_a_pod_that_says_it_is_ill_is_restarted(nodes: Cluster) -> None:
    alive = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1}
    start(nodes, service("patient"), workload("Deployment", "patient", 1, pod("patient", livenessProbe=alive)))
    assert httpx.put(f"{nodes.forward(STORY, 'patient', 80)}/illness", trust_env=False).is_success

    def was_restarted() -> bool:
        (patient,) = pods(nodes, "patient")
        (status,) = patient["status"]["containerStatuses"]
        return bool(status["restartCount"] == 1 and status["ready"])

    wait_until(was_restarted, WITHIN_S, "the patient was restarted and is well")


def test_a_pods_own_account_asks_the_api_server_and_gets_what_it_may_see(nodes: Cluster, trio: str) -> None:
    asker = sorted(names(pods(nodes, trio)))[0]
    ask = ("fetch", f"-account={ACCOUNT}")
    assert json.loads(said_by(nodes, asker, *ask, "https://kubernetes.default.svc/version"))["major"] == "1"
    with pytest.raises(CommandFailed, match="403"):
        said_by(nodes, asker, *ask, f"https://kubernetes.default.svc/api/v1/namespaces/{STORY}/secrets")


def test_what_a_pod_logs_is_read(nodes: Cluster, trio: str) -> None:
    name = sorted(names(pods(nodes, trio)))[0]
    said_by(nodes, name, "fetch", f"http://localhost:{PORT}/")
    log = nodes.kubectl("logs", "-n", STORY, name)
    assert f"{name} listens on" in log
    assert "asked by Go-http-client" in log


def test_a_pod_with_rights_is_refused_where_none_are_to_be_had(nodes: Cluster) -> None:
    bold = {"name": "bold", "image": IMAGE, "securityContext": {"privileged": True}}
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted'):
        nodes.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "bold", "namespace": STORY},
                "spec": {"containers": [bold]},
            }
        )


def test_draining_a_node_leaves_as_many_pods_as_the_budget_says(nodes: Cluster, trio: str) -> None:
    budget = {"minAvailable": 3, "selector": {"matchLabels": {"app": trio}}}
    about = {"name": trio, "namespace": STORY}
    nodes.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": about, "spec": budget})
    wait_until(
        lambda: nodes.kubectl("get", "pdb", trio, "-n", STORY, "-o", "jsonpath={.status.currentHealthy}") == "3",
        WITHIN_S,
        "the budget knows its pods",
    )
    drain = ("drain", "n3", "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector=app={trio}")
    try:
        with pytest.raises(CommandFailed, match="disruption budget"):
            nodes.kubectl(*drain, "--timeout=7s")
        assert "n3" in {item["spec"]["nodeName"] for item in pods(nodes, trio)}
        patch = json.dumps({"spec": {"minAvailable": 2}})
        nodes.kubectl("patch", "pdb", trio, "-n", STORY, "--type=merge", "-p", patch)
        nodes.kubectl(*drain, LIMIT)
        rollout(nodes, "Deployment", trio)
        assert {item["spec"]["nodeName"] for item in pods(nodes, trio)} <= {"n1", "n2"}
    finally:
        nodes.kubectl("uncordon", "n3")


def test_a_node_whose_programs_are_killed_is_missed_and_comes_back(nodes: Cluster) -> None:
    node = nodes.nodes[2]
    node.kubelet.kill()
    node.containerd.kill()
    wait_until(lambda: node_is_ready(nodes, node.name) == "Unknown", 60, f"{node.name} is missed")
    node.containerd.start()
    node.kubelet.start()
    wait_until(lambda: node_is_ready(nodes, node.name) == "True", 60, f"{node.name} is back")


def test_a_machine_knows_only_itself(nodes: Cluster) -> None:
    node = nodes.nodes[0].machine
    assert node.run("cat", "/proc/1/comm").strip() == "pause"
    assert node.run("hostname").strip() == node.name
    with pytest.raises(subprocess.CalledProcessError):
        node.run("ip", "link", "show", "nodes")


@dataclass
class Apart:
    """A cluster of one node in a process of its own, beside the one of the other stories."""

    process: "subprocess.Popen[str]"
    folder: Path
    names: list[str]
    mark: str

    def processes(self) -> list[str]:
        """The names of its processes; not of those in pods, whose control groups cannot be removed while they run.

        They are known by a variable that they inherit: the number of a namespace is given again once it is free, to
        one of another cluster as well.
        """
        processes = Path("/proc").glob("[0-9]*")
        return [_read(one / "comm") for one in processes if self.mark in _read(one / "environ").split("\0")]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:  # the process has ended meanwhile
        return ""


# Where tests run in the background of a script, Ctrl-C is ignored, and so it would be by whatever they start.
ANOTHER = """
import json, signal, sys
from pathlib import Path
from wattfleet_e2e.nodes import Cluster, Programs

signal.signal(signal.SIGINT, signal.default_int_handler)
kubernetes, others, folder = map(Path, sys.argv[1:])
with Cluster(Programs(kubernetes, others), folder, nodes=1) as cluster:
    print(json.dumps([machine.name for machine in cluster.machines]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another(nodes: Cluster, tmp_path: Path) -> Iterator[Apart]:
    argv = [sys.executable, "-c", ANOTHER, str(WITNESS.parents[1] / "controlplane"), str(WITNESS.parent), str(tmp_path)]
    variable, value = "WATTFLEET_CLUSTER_APART", secrets.token_hex(8)
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, variable: value},
    ) as process:
        try:
            assert process.stdout
            names = json.loads(process.stdout.readline())
            yield Apart(process, tmp_path, names, f"{variable}={value}")
        finally:
            process.kill()


def test_a_cluster_whose_tests_are_killed_leaves_no_process_and_the_next_one_clears_up(
    another: Apart, nodes: Cluster
) -> None:
    assert {"kube-apiserver", "kubelet", "containerd", "etcd"} <= set(another.processes())
    another.process.kill()
    wait_until(lambda: not another.processes(), 20, "all its processes have ended")
    assert str(another.folder) not in Path("/proc/self/mountinfo").read_text()
    assert set(another.names) <= control_groups.names()

    def cleared() -> bool:
        control_groups.remove_left_over()
        return not set(another.names) & control_groups.names()

    # The kernel takes its time to let go of processes that have ended already.
    wait_until(cleared, 20, "whoever comes next clears up")
    assert {machine.name for machine in nodes.machines} <= control_groups.names()
    assert [node_is_ready(nodes, node.name) for node in nodes.nodes] == ["True"] * 3


def test_a_cluster_that_is_interrupted_leaves_nothing(another: Apart) -> None:
    os.killpg(another.process.pid, signal.SIGINT)
    assert another.process.wait(60) != 0
    assert another.processes() == []
    assert not set(another.names) & control_groups.names()
    assert str(another.folder) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.usefixtures("nodes")
def test_whoever_clears_up_spares_a_machine_that_is_about_to_start() -> None:
    machine = f"about-to-start-{secrets.token_hex(4)}"
    clearing = threading.Thread(target=control_groups.remove_left_over)
    with control_groups.nobody_clears_up():
        control_groups.ControlGroups(machine).create()
        clearing.start()
        clearing.join(0.5)
        assert machine in control_groups.names()
    clearing.join(WITHIN_S)
    assert machine not in control_groups.names()
