"""The charts, with the real Helm and a real API server: what they render, and what they refuse.

No node runs anything here; NATS' configuration is tried by a NATS server. What a release leaves is told beside this.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from wattfleet_e2e.charts import (
    AGENT,
    DEFINITIONS,
    PAGE,
    PLATFORM,
    PROGRAMS,
    ROOT,
    VALUES,
    Object,
    environment_of,
    named,
)
from wattfleet_e2e.helm import Helm, HelmRefuses
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_accounts import accounts_configuration
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_tenants.crd import Household, Shard
from wattfleet_tenants.server_settings import BROKER_SETTINGS
from wattfleet_tenants.telemetry.health import Health, start_health_server
from wattfleet_tenants.testing.programs import find_program

SCHEMAS = ROOT / ".cache" / "kubernetes-schemas"
VERSIONS = ("1.31.14", "1.34.4", "1.36.3")
DAY = timedelta(days=1)
HOME = '{"household": "h", "shard": "s", "servers": [], "credentials": "c", "command_key": "k"}'


def chart_of(values: Path) -> Path:
    return AGENT if values.name.startswith("agent-") else PLATFORM


def pods_of(objects: list[Object]) -> list[Object]:
    bare = [found["spec"] for found in objects if found["kind"] == "Pod"]
    return bare + [found["spec"]["template"]["spec"] for found in objects if "template" in found.get("spec", {})]


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
