"""What a release of the charts leaves on a real API server: keys, disks, rights, and nothing else.

No node runs anything here. The operator's rights are tried by the operator itself, which works with the token of its
ServiceAccount.
"""

import base64
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest
import yaml
from wattfleet_e2e.charts import AGENT, DEFINITIONS, IDLE, PAGE, ROOT, Object, environment_of, named
from wattfleet_e2e.helm import Helm, HelmRefuses
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.rights import GATEWAY, OPERATOR, Rights, pairs
from wattfleet_tenants.testing.programs import Program, find_program, free_port
from wattfleet_tenants.testing.waiting import wait_until

SEEN_WITHIN_S = 45


def found(cluster: KubeApi, kind: str, namespace: str) -> list[Object]:
    items: list[Object] = json.loads(cluster.kubectl("get", kind, "-n", namespace, "-o", "json"))["items"]
    return items


def kept(cluster: KubeApi, namespace: str) -> Mapping[str, object]:
    """Who each Secret and disk of a platform is, and what each Secret holds."""
    mine = [one for one in found(cluster, "secrets", namespace) if one["type"] == "Opaque"]
    disks = found(cluster, "persistentvolumeclaims", namespace)
    return {one["metadata"]["name"]: (one["metadata"]["uid"], one.get("data")) for one in (*mine, *disks)}


def test_an_upgrade_and_a_rollback_keep_keys_and_disks(cluster: KubeApi, helm: Helm, release: str) -> None:
    make_what_the_operator_keeps(cluster, release)
    wait_until(lambda: f"data-{release}-nats-0" in kept(cluster, release), SEEN_WITHIN_S, "NATS has a disk")
    before = kept(cluster, release)
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE, "--set=logLevel=DEBUG")
    with_page = kept(cluster, release)
    assert with_page.keys() - before.keys() == {f"{release}-gateway"}
    helm("rollback", release, "1", "--namespace", release)
    assert kept(cluster, release) == with_page
    names = {one["metadata"]["name"] for one in found(cluster, "deployments", release)}
    assert names == {f"{release}-operator"}
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE)
    assert kept(cluster, release) == with_page


def test_uninstalled_it_leaves_the_definitions_the_keys_and_the_disks(
    cluster: KubeApi, helm: Helm, release: str
) -> None:
    make_what_the_operator_keeps(cluster, release)
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE)
    wait_until(lambda: f"data-{release}-nats-0" in kept(cluster, release), SEEN_WITHIN_S, "NATS has a disk")
    before = kept(cluster, release)
    assert before.keys() >= {"wattfleet-nats", f"data-{release}-nats-0", f"{release}-gateway"}
    helm("upgrade", "--install", "crds", DEFINITIONS, "--namespace", release, "--take-ownership", "--force-conflicts")
    helm("uninstall", "crds", "--namespace", release)
    helm("uninstall", release, "--namespace", release)
    assert kept(cluster, release) == before
    assert "households.wattfleet.io" in cluster.kubectl("get", "crd", "-o", "name")
    assert "deletion.wattfleet.io" in cluster.kubectl("get", "validatingadmissionpolicies", "-o", "name")
    for kind in ("deployments", "statefulsets", "services", "roles", "networkpolicies", "poddisruptionbudgets"):
        assert found(cluster, kind, release) == []


def test_an_agents_outbox_stays_when_it_is_uninstalled(cluster: KubeApi, helm: Helm, namespace: str) -> None:
    helm("install", "home", AGENT, "--namespace", namespace, "-f", ROOT / "e2e" / "values" / "agent-k3s.yaml")
    assert kept(cluster, namespace).keys() == {"home-agent-home", "home-agent-outbox"}
    helm("uninstall", "home", "--namespace", namespace)
    assert kept(cluster, namespace).keys() == {"home-agent-outbox"}


def test_what_was_left_is_taken_up_again(cluster: KubeApi, helm: Helm, release: str) -> None:
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE)
    before = kept(cluster, release)
    helm("uninstall", release, "--namespace", release)
    helm("install", release, *IDLE, "--namespace", release, "-f", PAGE)
    assert kept(cluster, release)[f"{release}-gateway"] == before[f"{release}-gateway"]


def test_a_second_platform_in_the_same_cluster_is_refused(helm: Helm, release: str) -> None:
    with pytest.raises(HelmRefuses, match=r"ClusterRole.*wattfleet-operator.*exists"):
        helm("install", "second", *IDLE, "--namespace", "default")


def test_pods_are_made_where_pod_security_is_strictest(cluster: KubeApi, helm: Helm, release: str) -> None:
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE)
    wished = {"operator": 2, "nats": 1, "gateway": 1, "ui": 1}

    def made() -> dict[str, int]:
        parts = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in found(cluster, "pods", release)]
        return {part: parts.count(part) for part in parts}

    wait_until(lambda: made() == wished, SEEN_WITHIN_S, f"pods of {wished}")


def test_the_notes_say_what_comes_next(helm: Helm, namespace: str) -> None:
    said = helm("install", "home", *IDLE, "-f", PAGE, "--namespace", namespace, "--dry-run=server")
    assert "kubectl apply -f examples/shard.yaml -f examples/household.yaml" in said
    assert "http://home.example:30080" in said
    assert "does not know Household" not in said
    agent_of = ("--set=sensor=simulated:flat", "--set=home.existingSecret=home-1")
    agent = helm("install", "home", AGENT, "--namespace", namespace, *agent_of)
    helm("uninstall", "home", "--namespace", namespace)
    assert "It waits for the Secret home-1" in agent


VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    *OPERATOR["cluster"],
    *OPERATOR["namespace"],
    "events",
    "customresourcedefinitions.apiextensions.k8s.io",
    "namespaces",
    "pods",
    "pods/exec",
    "configmaps",
    "serviceaccounts",
    "serviceaccounts/token",
    "nodes",
    "roles.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "daemonsets.apps",
    "jobs.batch",
)


@pytest.mark.parametrize(("part", "rights"), [("operator", OPERATOR), ("gateway", GATEWAY)])
def test_each_part_may_do_what_it_needs_and_nothing_else(
    cluster: KubeApi, helm: Helm, release: str, part: str, rights: Rights
) -> None:
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE)
    user = f"system:serviceaccount:{release}:{release}-{part}"
    for place in ("namespace", "default", "kube-system"):
        expected = pairs(rights, "cluster", place)
        assert allowed(cluster, user, release if place == "namespace" else place) == expected


def allowed(cluster: KubeApi, user: str, namespace: str) -> set[tuple[str, str]]:
    """What of VERBS and RESOURCES the API server would let `user` do in `namespace`."""
    asked = list(product(RESOURCES, VERBS))
    reviews = []
    for resource, verb in asked:
        name, _, subresource = resource.partition("/")
        plural, _, group = name.partition(".")
        attributes = {"namespace": namespace, "verb": verb, "resource": plural, "group": group}
        review = {"user": user, "resourceAttributes": {**attributes, "subresource": subresource}}
        reviews.append({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": review})
    said = cluster.kubectl("create", "-f", "-", "-o", "json", given=yaml.safe_dump_all(reviews))
    decoder, answers = json.JSONDecoder(), []
    while said := said.lstrip():
        answer, end = decoder.raw_decode(said)
        answers.extend(answer.get("items", [answer]))
        said = said[end:]
    assert len(answers) == len(asked)
    return {question for question, answer in zip(asked, answers, strict=True) if answer["status"]["allowed"]}


def test_the_gateway_sees_no_key_and_touches_no_workload(cluster: KubeApi, helm: Helm, release: str) -> None:
    helm("upgrade", release, *IDLE, "--namespace", release, "-f", PAGE)
    as_gateway = f"--as=system:serviceaccount:{release}:{release}-gateway"
    for call in (
        ("get", "secrets"),
        ("get", "secret", "wattfleet-signing"),
        ("delete", "shard", "s1"),
        ("scale", "deployment", f"{release}-operator", "--replicas=0"),
        ("delete", "deployment", f"{release}-operator"),
        ("create", "token", f"{release}-operator"),
    ):
        with pytest.raises(CommandFailed, match=r"[Ff]orbidden"):
            cluster.kubectl(*call, as_gateway, "-n", release)
    assert "shards.wattfleet.io" not in cluster.kubectl("get", "shards", as_gateway, "-o", "name")


def make_what_the_operator_keeps(cluster: KubeApi, namespace: str) -> None:
    for name in ("nats", "nats-routes", "nats-server", "signing", "gateway", "edge"):
        text = {"key": base64.b64encode(secrets.token_bytes(16)).decode()}
        metadata = {"name": f"wattfleet-{name}", "namespace": namespace}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": text})


class Installed:
    """A release whose operator and NATS run as processes of this machine, as their pods would be told to."""

    def __init__(self, cluster: KubeApi, helm: Helm, namespace: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._folder = folder
        self._objects = helm.render(*IDLE, "--namespace", namespace)
        self._nats_port, self._health_port = free_port(), free_port()
        self.operator = Program([sys.executable, "-m", "wattfleet_operator"], folder / "operator.log", lambda: True)
        self.operator.env = self._environment()
        self.nats = Program(
            [find_program("nats-server"), "-c", str(folder / "nats.conf")],
            folder / "nats.log",
            lambda: "Server is ready" in (folder / "nats.log").read_text(),
        )
        self.nats.env = {**os.environ, "SERVER_NAME": "home-nats-0"}

    def accounts(self) -> str:
        """What the operator wrote for NATS, empty before it has."""
        secret = ("get", "secret", "wattfleet-nats-server", "-n", self.namespace, "--ignore-not-found", "-o", "json")
        answer = self.cluster.kubectl(*secret)
        return base64.b64decode(json.loads(answer)["data"]["accounts.conf"]).decode() if answer else ""

    def configure_nats(self) -> None:
        """The chart's configuration, with other folders and another port."""
        text = named(self._objects, "ConfigMap", "home-nats")["data"]["nats.conf"]
        (self._folder / "accounts").mkdir()
        (self._folder / "accounts" / "accounts.conf").write_text(self._here(self.accounts()))
        (self._folder / "nats.conf").write_text(
            self._here(text).replace("0.0.0.0:4222", f"127.0.0.1:{self._nats_port}")
        )

    def _here(self, text: str) -> str:
        return text.replace("/data/", f"{self._folder}/data/")

    def _environment(self) -> dict[str, str]:
        (container,) = named(self._objects, "Deployment", "home-operator")["spec"]["template"]["spec"]["containers"]
        return {
            **os.environ,
            **environment_of(container),
            "WATTFLEET_NAMESPACE": self.namespace,
            "WATTFLEET_IDENTITY": "home-operator-0",
            "WATTFLEET_NATS_URLS": f"nats://127.0.0.1:{self._nats_port}",
            "WATTFLEET_HEALTH_HOST": "127.0.0.1",
            "WATTFLEET_HEALTH_PORT": str(self._health_port),
            "KUBECONFIG": str(self._kubeconfig()),
        }

    def _kubeconfig(self) -> Path:
        token = self.cluster.kubectl("create", "token", f"{self.namespace}-operator", "-n", self.namespace).strip()
        path = self._folder / "operator.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self.cluster.kubeconfig_with(token)))
        return path


@pytest.fixture
def installed(cluster: KubeApi, helm: Helm, release: str, tmp_path: Path) -> Iterator[Installed]:
    installed = Installed(cluster, helm, release, tmp_path)
    installed.operator.start()
    wait_until(installed.accounts, SEEN_WITHIN_S, "the operator wrote what NATS waits for")
    installed.configure_nats()
    installed.nats.start()
    yield installed
    for program in (installed.operator, installed.nats):
        program.stop()


def test_with_the_charts_rights_alone_the_operator_makes_a_shard_and_takes_it_away(installed: Installed) -> None:
    cluster, namespace = installed.cluster, installed.namespace
    name = f"c{secrets.token_hex(4)}"
    spec = {"region": f"r{name}", "capacity": 10}
    cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": name}, "spec": spec})
    made = ("deployments", "statefulsets", "services", "networkpolicies", "poddisruptionbudgets", "pvc")

    def lacks() -> list[str]:
        named = {kind: [one["metadata"]["name"] for one in found(cluster, kind, namespace)] for kind in made}
        return [kind for kind in made if not any(object_name.endswith(f"-{name}") for object_name in named[kind])]

    wait_until(lambda: not lacks(), SEEN_WITHIN_S, "all that a shard is made of")
    secret = ("get", "secret", "wattfleet-edge", "-n", namespace, "-o", "jsonpath={.data}")
    assert f"{name}.creds" in cluster.kubectl(*secret)
    cluster.kubectl("delete", "shard", name, "--timeout=60s")
    log = (installed.operator.log).read_text()
    assert "forbidden" not in log.lower()


def test_an_operator_that_lacks_a_right_says_which(installed: Installed) -> None:
    cluster, namespace = installed.cluster, installed.namespace
    role = json.loads(cluster.kubectl("get", "role", f"{namespace}-operator", "-n", namespace, "-o", "json"))
    for rule in role["rules"]:
        if "networkpolicies" in rule["resources"]:
            rule["verbs"].remove("patch")
    cluster.apply(role)
    name = f"c{secrets.token_hex(4)}"
    cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": name}})

    def said() -> str:
        conditions = json.loads(cluster.kubectl("get", "shard", name, "-o", "json")).get("status", {}).get("conditions")
        return next((f"{one['reason']}: {one['message']}" for one in conditions or [] if one["type"] == "Ready"), "")

    wait_until(lambda: said().startswith("ClusterRefuses"), SEEN_WITHIN_S, "it says that it is refused")
    assert 'cannot patch resource "networkpolicies"' in said()
    cluster.kubectl("delete", "shard", name, "--timeout=60s")
