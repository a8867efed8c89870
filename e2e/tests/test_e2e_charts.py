"""The charts, with the real Helm: what they render, what they refuse, and what they leave on a real API server.

No node runs anything here. The operator's rights are tried by the operator itself, which works with the token of its
ServiceAccount, and NATS' configuration by a NATS server.
"""

import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from wattfleet_e2e.helm import Helm, HelmRefuses
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.rights import GATEWAY, OPERATOR, Rights, pairs
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_accounts import accounts_configuration
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_tenants.crd import Household, Shard
from wattfleet_tenants.server_settings import BROKER_SETTINGS
from wattfleet_tenants.telemetry.health import Health, start_health_server
from wattfleet_tenants.testing.programs import Program, find_program, free_port
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".cache" / "helm"
SCHEMAS = ROOT / ".cache" / "kubernetes-schemas"
CHARTS = ROOT / "charts"
PLATFORM, AGENT, DEFINITIONS = CHARTS / "wattfleet", CHARTS / "wattfleet-agent", CHARTS / "wattfleet-crds"
# Of this platform nothing of ours runs, even where there are nodes that have its images.
IDLE = (PLATFORM, "--set=images.registry=nowhere.invalid,images.pullPolicy=Never")
VALUES = sorted((ROOT / "e2e" / "values").glob("*.yaml"))
VERSIONS = ("1.31.14", "1.34.4", "1.36.3")
PAGE = ROOT / "e2e" / "values" / "platform-page.yaml"
SEEN_WITHIN_S = 45
DAY = timedelta(days=1)
HOME = '{"household": "h", "shard": "s", "servers": [], "credentials": "c", "command_key": "k"}'

Object = dict[str, Any]


@pytest.fixture(scope="module")
def helm(cluster: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(PROGRAMS / "helm", cluster.kubeconfig, tmp_path_factory.mktemp("helm"))


@pytest.fixture
def namespace(cluster: KubeApi) -> Iterator[str]:
    """A namespace with the strictest pod security."""
    name = f"charts-{secrets.token_hex(4)}"
    strictest = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": strictest}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def release(helm: Helm, namespace: str) -> Iterator[str]:
    """The platform as it is with hardly any values; returns its namespace, which is its name as well."""
    helm("install", namespace, *IDLE, "--namespace", namespace)
    yield namespace
    helm("uninstall", namespace, "--namespace", namespace, "--ignore-not-found")


def chart_of(values: Path) -> Path:
    return AGENT if values.name.startswith("agent-") else PLATFORM


def named(objects: list[Object], kind: str, name: str) -> Object:
    return next(found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, name))


def environment_of(container: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def pods_of(objects: list[Object]) -> list[Object]:
    bare = [found["spec"] for found in objects if found["kind"] == "Pod"]
    return bare + [found["spec"]["template"]["spec"] for found in objects if "template" in found.get("spec", {})]


def found(cluster: KubeApi, kind: str, namespace: str) -> list[Object]:
    items: list[Object] = json.loads(cluster.kubectl("get", kind, "-n", namespace, "-o", "json"))["items"]
    return items


def kept(cluster: KubeApi, namespace: str) -> Mapping[str, object]:
    """Who each Secret and disk of a platform is, and what each Secret holds."""
    mine = [one for one in found(cluster, "secrets", namespace) if one["type"] == "Opaque"]
    disks = found(cluster, "persistentvolumeclaims", namespace)
    return {one["metadata"]["name"]: (one["metadata"]["uid"], one.get("data")) for one in (*mine, *disks)}


@pytest.mark.parametrize("chart", [PLATFORM, AGENT, DEFINITIONS], ids=lambda chart: chart.name)
def test_helm_has_nothing_to_complain_of(helm: Helm, chart: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", chart)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_each_kubernetes_version_knows_every_field_of_what_is_rendered(
    helm: Helm, values: Path, version: str, tmp_path: Path
) -> None:
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(helm("template", "home", chart_of(values), "-f", values, "--kube-version", version))
    done = conform(version, rendered)
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0" in done.stdout


def test_a_field_that_a_version_does_not_know_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Service", "spec": {"colour": "red"}}))
    done = conform(VERSIONS[0], wrong)
    assert done.returncode != 0
    assert "colour" in done.stdout


def conform(version: str, manifests: Path) -> subprocess.CompletedProcess[str]:
    """What kubeconform says of them; it does not know what is not Kubernetes' own."""
    location = f"{SCHEMAS}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    how = ("-strict", "-summary", "-skip=PodMonitor", f"-kubernetes-version={version}", f"-schema-location={location}")
    return subprocess.run([PROGRAMS / "kubeconform", *how, manifests], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_api_server_takes_all_of_it_without_a_warning(
    cluster: KubeApi, helm: Helm, namespace: str, values: Path
) -> None:
    if values.stem == "agent-host-path":
        no_rules = ["pod-security.kubernetes.io/enforce-", "pod-security.kubernetes.io/warn-"]
        cluster.kubectl("label", "namespace", namespace, *no_rules)
    objects = helm.render(chart_of(values), "-f", values, "--namespace", namespace)
    dry_run(cluster, namespace, [one for one in objects if one["kind"] != "PodMonitor"])


def test_a_folder_of_the_node_is_not_for_a_namespace_with_pod_security(
    cluster: KubeApi, helm: Helm, namespace: str
) -> None:
    objects = helm.render(AGENT, "-f", ROOT / "e2e" / "values" / "agent-host-path.yaml", "--namespace", namespace)
    with pytest.raises(CommandFailed, match="hostPath"):
        dry_run(cluster, namespace, objects)


def dry_run(cluster: KubeApi, namespace: str, objects: list[Object]) -> None:
    """Raises CommandFailed for what the API server refuses or warns of."""
    how = ("--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
    elsewhere = [one for one in objects if "namespace" in one["metadata"]]
    here = [one for one in objects if one not in elsewhere]
    cluster.kubectl("apply", *how, "-n", namespace, "-f", "-", given=yaml.safe_dump_all(here))
    if elsewhere:
        cluster.kubectl("apply", *how, "-f", "-", given=yaml.safe_dump_all(elsewhere))


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    for chart in (PLATFORM, AGENT, DEFINITIONS):
        with pytest.raises(HelmRefuses, match=r">=1\.31"):
            helm("template", "home", chart, "--kube-version", "1.30.0")


def describe(given: Path | list[str] | str) -> str:
    return ",".join(given) or "nothing" if isinstance(given, list) else getattr(given, "name", "")


REFUSED = [
    (PLATFORM, ["nats.maxFileStore=40GB"], "40GB does not fit on a disk of nats.persistence.size 40Gi"),
    (PLATFORM, ["nats.replicas=2"], r"/nats/replicas.*must be one of 1, 3"),
    (PLATFORM, ["nats.replica=3"], r"/nats.*additional properties 'replica' not allowed"),
    (PLATFORM, ["operator.replicas=two"], r"/operator/replicas.*got string, want integer"),
    (PLATFORM, ["operator.replicas=0"], r"/operator/replicas.*minimum"),
    (PLATFORM, ["colour=red"], r"additional properties 'colour' not allowed"),
    (PLATFORM, ["images.operator.digest=sha256:abc"], r"/images/operator/digest.*does not match pattern"),
    (PLATFORM, ["images.pullPolicy=Sometimes"], r"/images/pullPolicy.*'IfNotPresent'"),
    (PLATFORM, ["operator.edgeUrls={http://nats.example.com}"], r"/operator/edgeUrls/0.*nats\|tls"),
    (PLATFORM, ["nats.persistence.size=lots"], r"/nats/persistence/size.*does not match pattern"),
    (PLATFORM, ["nats.enabled=false"], r"say in nats\.urls where NATS is"),
    (PLATFORM, ["nats.urls={nats://nats.example.com}"], r"set nats\.enabled to false, or leave nats\.urls empty"),
    (PLATFORM, ["shards.streamReplicas=3"], r"three copies of a stream need three NATS servers"),
    (PLATFORM, ["shards.storeCluster.insertUrl=http://vminsert:8480"], r"needs both insertUrl and selectUrl"),
    (PLATFORM, ["gateway.enabled=true"], r"needs gateway\.publicUrl"),
    (PLATFORM, ["gateway.enabled=true", "gateway.publicUrl=https://home.example"], r"needs gateway\.oidc\.issuer"),
    (PLATFORM, ["gateway.publicUrl=https://home.example/"], r"/gateway/publicUrl.*does not match pattern"),
    (PLATFORM, ["gateway.database.url=postgresql://me:secret@db/homes"], r"/gateway/database/url.*does not match"),
    (
        PLATFORM,
        ["gateway.database.url=postgresql://me@db/homes?password=secret"],
        r"/gateway/database/url.*'not' failed",
    ),
    (PLATFORM, ["gateway.database.url=mysql://me@db/homes"], r"/gateway/database/url.*does not match"),
    (PLATFORM, ["ui.replicas=2"], r"ui\.replicas above 1 needs ui\.redis"),
    (PLATFORM, ["nats.service.nodePort=30422"], r"needs nats\.service\.type NodePort"),
    (AGENT, [], r"say who this home is"),
    (AGENT, ["home.existingSecret=home"], r"say what measures"),
    (AGENT, ["home.existingSecret=home", "sensor=simulated"], r"/sensor.*does not match pattern"),
    (AGENT, ["home.existingSecret=home", "sensor=a:b", "sockets=65"], r"/sockets.*maximum"),
    (AGENT, ["home.existingSecret=home", "sensor=a:b", "kind=DaemonSet"], r"kind DaemonSet needs nodeSelector"),
    (AGENT, ["home.existingSecret=home", "sensor=a:b", "outbox.type=ram"], r"/outbox/type.*'emptyDir'"),
]


@pytest.mark.parametrize(
    ("chart", "wrong", "said"), REFUSED, ids=lambda one: None if isinstance(one, Path) else str(one)
)
def test_wrong_values_are_refused_with_what_is_wrong(helm: Helm, chart: Path, wrong: list[str], said: str) -> None:
    with pytest.raises(HelmRefuses, match=said):
        helm("template", "home", chart, *(f"--set={value}" for value in wrong))


def test_a_thing_said_twice_is_refused(helm: Helm) -> None:
    twice = ["--set=gateway.database.url=postgresql://me@db/homes", "--set=gateway.database.existingSecret=db"]
    with pytest.raises(HelmRefuses, match="takes url or existingSecret, not both"):
        helm("template", "home", PLATFORM, *twice)
    with pytest.raises(HelmRefuses, match="takes existingSecret or value, not both"):
        helm("template", "home", AGENT, f"--set-json=home.value={json.dumps(HOME)}", "--set=home.existingSecret=home")


def test_several_gateways_on_sqlite_are_refused(helm: Helm) -> None:
    with pytest.raises(HelmRefuses, match="SQLite is one process's"):
        helm("template", "home", PLATFORM, "-f", PAGE, "--set=gateway.replicas=2")


def test_a_databases_password_is_mounted_and_in_no_specification(helm: Helm) -> None:
    objects = helm.render(PLATFORM, "-f", ROOT / "e2e" / "values" / "platform-large.yaml")
    pod = named(objects, "Deployment", "home-gateway")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = environment_of(container)
    assert "WATTFLEET_DATABASE_URL" not in told
    (mounted,) = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "database"]
    assert (mounted["secretName"], mounted["items"]) == ("gateway-database", [{"key": "url", "path": "url"}])
    (place,) = [mount for mount in container["volumeMounts"] if mount["name"] == "database"]
    assert told["WATTFLEET_DATABASE_URL_FILE"] == f"{place['mountPath']}/url"


def test_a_text_that_is_no_home_file_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmRefuses, match="it has no shard"):
        helm("template", "home", AGENT, '--set-json=home.value="{\\"household\\": 1}"', "--set=sensor=simulated:flat")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_nothing_is_random_and_nothing_secret_but_what_was_given(helm: Helm, values: Path) -> None:
    objects = helm.render(chart_of(values), "-f", values)
    assert objects == helm.render(chart_of(values), "-f", values)
    given = yaml.safe_load(values.read_text()).get("home", {}).get("value")
    told = [base64.b64decode(one["data"]["home.json"]).decode() for one in objects if one["kind"] == "Secret"]
    assert told == ([given] if given else [])


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_only_who_asks_the_api_server_has_a_token_and_every_image_a_version(helm: Helm, values: Path) -> None:
    for pod in pods_of(helm.render(chart_of(values), "-f", values)):
        (container,) = pod["containers"]
        asks = pod.get("serviceAccountName", "") in ("home-operator", "home-gateway")
        assert pod["automountServiceAccountToken"] is asks
        assert not container["image"].endswith(":latest")
        assert ":" in container["image"].rpartition("/")[2] or "@sha256:" in container["image"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_charts_are_of_one_version() -> None:
    about = [yaml.safe_load((chart / "Chart.yaml").read_text()) for chart in (PLATFORM, AGENT, DEFINITIONS)]
    assert len({(one["version"], one["appVersion"], one["kubeVersion"]) for one in about}) == 1


def test_nats_is_set_as_everywhere_else() -> None:
    assert (PLATFORM / "files" / "broker-settings.conf").read_text() == BROKER_SETTINGS


def test_nats_takes_the_configuration_of_three_servers_with_tls(helm: Helm, tmp_path: Path) -> None:
    objects = helm.render(PLATFORM, "-f", ROOT / "e2e" / "values" / "platform-large.yaml")
    (container,) = named(objects, "StatefulSet", "home-nats")["spec"]["template"]["spec"]["containers"]
    told = environment_of(container)
    for variable in ("ROUTES", "ROUTES_AUTHORIZATION"):
        told[variable] = told[variable].replace("$(ROUTES_PASSWORD)", "tried")
    assert told["ROUTES"].count("nats://routes:tried@home-nats-") == 3
    (tmp_path / "accounts").mkdir()
    identities = NatsIdentities(FolderVault(tmp_path))
    accounts = asyncio.run(accounts_configuration(identities, str(tmp_path / "resolver")))
    (tmp_path / "accounts" / "accounts.conf").write_text(accounts)
    write_certificate(tmp_path)
    text = named(objects, "ConfigMap", "home-nats")["data"]["nats.conf"]
    assert "max_file_store: 90GB" in text
    (tmp_path / "nats.conf").write_text(text.replace("/data/", f"{tmp_path}/").replace("/run/tls/", f"{tmp_path}/"))
    command = [find_program("nats-server"), "-t", "-c", str(tmp_path / "nats.conf")]
    environment = {**os.environ, **told, "SERVER_NAME": "home-nats-0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    without = {name: value for name, value in environment.items() if name != "ROUTES"}
    assert subprocess.run(command, env=without, capture_output=True, check=False).returncode != 0


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nats.example")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    signed = builder.sign(key, hashes.SHA256())
    (folder / "tls.crt").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_helm_test_succeeds_only_when_the_part_is_ready(helm: Helm) -> None:
    (container,) = named(helm.render(PLATFORM, "-f", PAGE), "Pod", "home-test-gateway")["spec"]["containers"]
    health = Health("database")
    server = start_health_server(health, 0)
    here = f"127.0.0.1:{server.server_port}"

    def succeeds() -> bool:
        command = [sys.executable, "-c", container["command"][-1].replace("home-gateway-health:8081", here)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    try:
        assert not succeeds()
        health.ok("database")
        assert succeeds()
    finally:
        server.shutdown()
        server.server_close()


def test_the_examples_are_taken(cluster: KubeApi) -> None:
    examples = ROOT / "examples"
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", str(examples))
    Shard.model_validate(yaml.safe_load((examples / "shard.yaml").read_text()))
    Household.model_validate(yaml.safe_load((examples / "household.yaml").read_text()))


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
