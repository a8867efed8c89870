"""Where stories are told: what is chosen, what is done there in which order, and that nothing of it stays.

kind itself does not run here: its commands are recorded. What is said of a cluster of others is tried on a real API.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from wattfleet_e2e import kind
from wattfleet_e2e.capabilities import ADDRESS, Capability
from wattfleet_e2e.control_plane import ControlPlane
from wattfleet_e2e.given import CLAIM, InUse, MarkingApi, borrowed
from wattfleet_e2e.kube_api import CommandFailed
from wattfleet_e2e.nodes import Programs
from wattfleet_e2e.provider import Machine, NoProvider, choose

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Programs(ROOT / ".cache" / "controlplane", ROOT / ".cache" / "coredns")
DEFINITIONS = str(ROOT / "charts" / "wattfleet-crds" / "templates")
DELETE = ["kind", "delete", "cluster", "--name", "wattfleet-e2e"]


class Recorder:
    """Runs nothing; at a command that begins like `fails_at` it fails."""

    def __init__(self, *fails_at: str) -> None:
        self.commands: list[list[str]] = []
        self._fails_at = list(fails_at)

    def __call__(self, argv: Sequence[str]) -> str:
        self.commands.append(list(argv))
        if self._fails_at and list(argv)[: len(self._fails_at)] == self._fails_at:
            raise CommandFailed("it cannot")
        return ""

    def begun(self) -> list[str]:
        return [" ".join(command[:2]) for command in self.commands]


def machine(folder: Path, run: Recorder, *installed: str, **environment: str) -> Machine:
    """One on which nothing is installed but kubectl and `installed`."""
    there = {name: str(folder / name) for name in (*installed, "kubectl")}
    (folder / "kubectl").touch()
    return Machine(environment, there.get, run)


def test_a_cluster_that_a_machine_happens_to_know_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    known = machine(tmp_path, Recorder(), "kind", "docker", KUBECONFIG=str(tmp_path / "config"))
    assert choose(PROGRAMS, known).name == "local"


@pytest.mark.parametrize(
    ("installed", "environment", "says"),
    [
        ([], {"E2E_PROVIDER": "minikube"}, "is local, kind or kubeconfig, and not 'minikube'"),
        (["docker"], {"E2E_PROVIDER": "kind"}, "kind is not installed: https://kind"),
        (["kind"], {"E2E_PROVIDER": "kind"}, "kind takes docker or podman or nerdctl: not installed"),
        (
            ["kind", "docker"],
            {"E2E_PROVIDER": "kind", "KIND_EXPERIMENTAL_PROVIDER": "podman"},
            "kind takes podman, as KIND_EXPERIMENTAL_PROVIDER says: not installed",
        ),
        ([], {"E2E_PROVIDER": "kubeconfig"}, "takes one file in KUBECONFIG, which is not set"),
        ([], {"E2E_PROVIDER": "kubeconfig", "KUBECONFIG": "/no/file"}, "which is not '/no/file'"),
        (
            [],
            {"E2E_PROVIDER": "kubeconfig", "KUBECONFIG": __file__, "E2E_LOAD_IMAGE": "docker load"},
            "has to say where the archive's path goes: {archive}",
        ),
    ],
    ids=["no such provider", "no kind", "no containers", "no podman", "no KUBECONFIG", "no such file", "no archive"],
)
def test_what_cannot_be_had_is_refused_with_a_sentence_that_says_why(
    tmp_path: Path, installed: list[str], environment: dict[str, str], says: str
) -> None:
    with pytest.raises(NoProvider, match=re.escape(says)):
        choose(PROGRAMS, machine(tmp_path, Recorder(), *installed, **environment))


def test_podman_does_for_kind_when_it_is_named(tmp_path: Path) -> None:
    podman = {"E2E_PROVIDER": "kind", "KIND_EXPERIMENTAL_PROVIDER": "podman"}
    assert choose(PROGRAMS, machine(tmp_path, Recorder(), "kind", "podman", **podman)).name == "kind"


def test_a_cluster_of_kind_is_made_anew_given_images_and_deleted(tmp_path: Path) -> None:
    run = Recorder()
    provider = choose(PROGRAMS, machine(tmp_path, run, "kind", "docker", E2E_PROVIDER="kind"))
    with provider.with_nodes(tmp_path) as cluster:
        cluster.load_image(Path("my images/wattfleet.tar"))
    here = ["--kubeconfig", str(tmp_path / "kubeconfig")]
    config = ["--config", str(ROOT / "e2e" / "kind.yaml")]
    assert run.commands == [
        [*DELETE, *here],
        ["kind", "create", "cluster", "--name", "wattfleet-e2e", *config, *here, "--wait=300s"],
        ["kind", "load", "image-archive", "my images/wattfleet.tar", "--name", "wattfleet-e2e"],
        [*DELETE, *here],
    ]
    assert cluster.api.kubeconfig == tmp_path / "kubeconfig"


def test_a_cluster_of_kind_that_did_not_come_up_is_deleted(tmp_path: Path) -> None:
    run = Recorder("kind", "create")
    with pytest.raises(CommandFailed, match="it cannot"), kind.made(tmp_path / "kubeconfig", run):
        pytest.fail("it did come up")
    assert run.begun() == ["kind delete", "kind create", "kind delete"]


def test_a_cluster_of_kind_is_deleted_after_an_interruption(tmp_path: Path) -> None:
    run = Recorder()
    with pytest.raises(KeyboardInterrupt), kind.made(tmp_path / "kubeconfig", run):
        raise KeyboardInterrupt
    assert run.begun() == ["kind delete", "kind create", "kind delete"]


def test_kind_is_asked_for_three_nodes() -> None:
    asked = yaml.safe_load(kind.CONFIG.read_text())
    assert (asked["kind"], asked["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert [node["role"] for node in asked["nodes"]] == ["control-plane", "worker", "worker"]


def test_what_a_provider_lacks_is_said_by_name(tmp_path: Path) -> None:
    given = {"E2E_PROVIDER": "kubeconfig", "KUBECONFIG": __file__}
    provider = choose(PROGRAMS, machine(tmp_path, Recorder(), **given))
    assert provider.lacks([]) is None
    reason = provider.lacks([Capability.BESIDE, Capability.AUDIT_LOG])
    assert reason is not None
    assert re.match(rf"kubeconfig has no beside \(.*{ADDRESS}\) and no audit_log \(", reason)
    reached = choose(PROGRAMS, machine(tmp_path, Recorder(), **given, **{ADDRESS: "192.0.2.1"}))
    assert reached.lacks([Capability.BESIDE]) is None
    assert choose(PROGRAMS, machine(tmp_path, Recorder())).lacks(list(Capability)) is None


@pytest.mark.parametrize(("promised", "workers", "code"), [("1", "0", 0), ("1,2", "0", 1), ("1,2", "2", 1)], ids=str)
def test_a_tier_that_is_promised_and_of_which_nothing_is_told_fails_the_run(
    promised: str, workers: str, code: int
) -> None:
    told_elsewhere = {"E2E_PROVIDER": "kubeconfig", "KUBECONFIG": __file__, "E2E_TIERS": promised}
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent / "test_e2e_nodes.py"), "-k", "three_nodes"]
    done = subprocess.run(
        [*command, "-n", workers, "-p", "no:cacheprovider"],
        env={**os.environ, **told_elsewhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "skipped (kubeconfig has no nodes_are_machines" in done.stdout, done.stdout + done.stderr
    assert ("E2E_TIERS promises tier 2, and every story of it was skipped" in done.stdout) is bool(code)
    assert done.returncode == code


@pytest.fixture(scope="module")
def somebodys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarkingApi]:
    """The cluster of somebody else, as our kubeconfig leads into it."""
    with ControlPlane(PROGRAMS.kubernetes, tmp_path_factory.mktemp("somebodys")) as cluster:
        yield MarkingApi(PROGRAMS.kubernetes / "kubectl", cluster.kubeconfig)


def everything(api: MarkingApi) -> set[str]:
    kinds = "namespaces,crd,clusterroles,clusterrolebindings,roles,rolebindings,events"
    return set(api.kubectl("get", kinds, "-n", "default", "-o", "name").split())


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def tell(api: MarkingApi) -> None:
    """What stories leave where nobody clears up: also what only an operator would let go."""
    rights = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "told"}}
    labels = {"app.kubernetes.io/part-of": "wattfleet"}
    of_the_chart = {"name": "wattfleet-operator-events", "namespace": "default", "labels": labels}
    api.apply(namespace("a-story"), rights, {**rights, "kind": "Role", "metadata": of_the_chart})
    api.kubectl("apply", "--server-side", "-f", DEFINITIONS)
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/households.wattfleet.io")
    metadata = {"name": "s1", "finalizers": ["wattfleet.io/test"]}
    api.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": metadata})


needs_a_control_plane = pytest.mark.needs(Capability.PROCESS_CONTROL)


@needs_a_control_plane
def test_a_borrowed_cluster_is_left_as_it_was(somebodys: MarkingApi) -> None:
    before = everything(somebodys)
    with borrowed(somebodys):
        tell(somebodys)
        assert len(everything(somebodys)) > len(before) + 3
    assert everything(somebodys) == before


@needs_a_control_plane
def test_what_a_killed_run_left_is_cleared_before_the_next(somebodys: MarkingApi) -> None:
    before = everything(somebodys)
    somebodys.apply(namespace(CLAIM))
    tell(somebodys)
    with borrowed(somebodys):
        assert everything(somebodys) == before | {f"namespace/{CLAIM}"}


@needs_a_control_plane
def test_a_cluster_in_which_somebody_has_wattfleet_is_not_touched(somebodys: MarkingApi) -> None:
    somebodys.kubectl("apply", "--server-side", "-f", DEFINITIONS)
    before = everything(somebodys)
    try:
        with pytest.raises(InUse, match=r"households\.wattfleet\.io, shards"), borrowed(somebodys):
            pytest.fail("it was borrowed")
        assert everything(somebodys) == before
    finally:
        somebodys.kubectl("delete", "-f", DEFINITIONS)


@needs_a_control_plane
def test_what_somebody_installed_where_a_run_was_killed_is_not_touched(somebodys: MarkingApi) -> None:
    name = {"name": "wattfleet-operator", "labels": {"app.kubernetes.io/part-of": "wattfleet"}}
    operator = {"kind": "ServiceAccount", "name": "operator", "namespace": "somebodys"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    binding = {"metadata": name, "subjects": [operator], "roleRef": role}
    api_version = "rbac.authorization.k8s.io/v1"
    somebodys.apply(namespace(CLAIM))
    somebodys.kubectl("create", "namespace", "somebodys")
    somebodys.apply({"apiVersion": api_version, "kind": "ClusterRoleBinding", **binding})
    somebodys.kubectl("apply", "--server-side", "-f", DEFINITIONS)
    before = everything(somebodys)
    with pytest.raises(InUse, match="Wattfleet in namespace somebodys"), borrowed(somebodys):
        pytest.fail("it was borrowed")
    assert everything(somebodys) == before
    somebodys.kubectl("delete", "namespace", "somebodys")
    with borrowed(somebodys):
        assert "clusterrolebinding.rbac.authorization.k8s.io/wattfleet-operator" not in everything(somebodys)


@needs_a_control_plane
def test_a_namespace_of_somebody_is_neither_used_nor_removed(somebodys: MarkingApi) -> None:
    somebodys.kubectl("create", "namespace", "wattfleet")
    with borrowed(somebodys), pytest.raises(InUse, match="has a namespace wattfleet"):
        somebodys.apply(namespace("wattfleet"))
    found = json.loads(somebodys.kubectl("get", "namespace", "wattfleet", "-o", "json"))
    assert found["status"]["phase"] == "Active"
