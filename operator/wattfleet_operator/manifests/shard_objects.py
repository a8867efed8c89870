"""What a shard is made of in a cluster: its store and its processes, as Kubernetes objects.

Everything runs without root, without privileges and on a read-only file system. The store's disk is an object of its
own and not the StatefulSet's, so that it outlives a StatefulSet that somebody deletes; all of them go with their Shard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wattfleet_tenants.crd import Shard, StorageMode
from wattfleet_tenants.server_settings import STORE_ENVIRONMENT, STORE_FLAGS, STORE_FLUSH_S
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.data_plane import DataPlaneProcess
from wattfleet_operator.vault_names import secret_of

Manifest = dict[str, Any]

SHARD_LABEL = "wattfleet.io/shard"
ROLE_LABEL = "app.kubernetes.io/component"
STORE_PORT = 8428
READER_PORT = 8080
HEALTH_PORT = 8081

_USER = 65_532
_SECRETS_FOLDER = "/etc/wattfleet"
_TEMPORARY = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 (a volume of the pod's own)
_SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_POD_SAFE = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
_STOPS_WITHIN_S = 30
_LEAVES_ROTATION_S = 5
"""A reader goes on answering while others still send it questions."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the cluster's objects are to look where the platform decides. storage_class: empty for the default one."""

    namespace: str
    tenants_image: str
    store_image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    storage_class: str = ""


def object_name(role: str, shard: ShardId) -> str:
    """What a shard's objects of one role are called."""
    return f"{role}-{shard}"


def store_host(shard: ShardId, namespace: str) -> str:
    """Where a shard's own store answers."""
    return f"{object_name('store', shard)}.{namespace}.svc:{STORE_PORT}"


def reader_url(shard: ShardId, namespace: str) -> str:
    """Where a shard's readers are asked."""
    return f"http://{object_name('reader', shard)}.{namespace}.svc:{READER_PORT}"


def store_objects(shard: Shard, look: Look) -> list[Manifest]:
    """A store of the shard's own; nothing when it is a tenant of another one."""
    if shard.spec.storage.mode is StorageMode.TENANT:
        return []
    name = object_name("store", shard.id)
    claim: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": shard.spec.storage.size}},
    }
    if look.storage_class:
        claim["storageClassName"] = look.storage_class
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": _labels("store", shard.id)},
        "template": _pod("store", shard.id, look, _store_container(shard, look), [_disk(name)]),
    }
    return [
        _object("v1", "PersistentVolumeClaim", "store", shard.id, claim),
        _service("store", shard.id, STORE_PORT),
        _object("apps/v1", "StatefulSet", "store", shard.id, spec),
        _guard(
            "store",
            shard.id,
            [_from_roles(shard.id, ("writer", "reader"), STORE_PORT), _from_component("operator", STORE_PORT)],
        ),
    ]


def process_objects(shard: Shard, processes: Iterable[DataPlaneProcess], look: Look) -> list[Manifest]:
    """The shard's processes, each in as many copies as are wished for at least."""
    return [one for process in processes for one in _process(shard, process, look)]


def _process(shard: Shard, process: DataPlaneProcess, look: Look) -> list[Manifest]:
    role = process.role
    spec = {
        "replicas": process.replicas.min,
        "selector": {"matchLabels": _labels(role, shard.id)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": _pod(role, shard.id, look, _process_container(process, look), _secret_volumes(process)),
    }
    disruption = {"maxUnavailable": 1, "selector": {"matchLabels": _labels(role, shard.id)}}
    allowed = [_port_of_anybody(HEALTH_PORT)]
    made = [
        _object("apps/v1", "Deployment", role, shard.id, spec),
        _object("policy/v1", "PodDisruptionBudget", role, shard.id, disruption),
    ]
    if process.serves:
        made.append(_service(role, shard.id, READER_PORT))
        allowed.append(_from_component("gateway", READER_PORT))
    return [*made, _guard(role, shard.id, allowed)]


def _store_container(shard: Shard, look: Look) -> Manifest:
    health = {"httpGet": {"path": "/health", "port": "http"}}
    return {
        "name": "store",
        "image": look.store_image,
        "imagePullPolicy": look.pull_policy,
        "args": [
            f"-httpListenAddr=:{STORE_PORT}",
            "-storageDataPath=/data",
            f"-retentionPeriod={shard.spec.retention_years}y",
            f"-inmemoryDataFlushInterval={STORE_FLUSH_S}s",
            *STORE_FLAGS,
        ],
        "env": [{"name": name, "value": value} for name, value in STORE_ENVIRONMENT.items()],
        "ports": [{"name": "http", "containerPort": STORE_PORT}],
        "startupProbe": {**health, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {**health, "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**health, "periodSeconds": 10, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": _SAFE,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, _TEMPORARY],
    }


def _process_container(process: DataPlaneProcess, look: Look) -> Manifest:
    settings = {
        **process.settings,
        **{variable: _path(secret) for variable, secret in process.secrets.items()},
        "WATTFLEET_HEALTH_HOST": "0.0.0.0",  # noqa: S104 (a pod's own address)
        "WATTFLEET_HEALTH_PORT": str(HEALTH_PORT),
    }
    ports = [{"name": "health", "containerPort": HEALTH_PORT}]
    container: Manifest = {
        "name": process.role,
        "image": look.tenants_image,
        "imagePullPolicy": look.pull_policy,
        "command": ["python", "-m", process.module],
        "startupProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}, "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 10},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": _SAFE,
        "volumeMounts": [
            _TEMPORARY,
            *({"name": name, "mountPath": f"{_SECRETS_FOLDER}/{name}", "readOnly": True} for name in _secrets(process)),
        ],
    }
    if process.serves:
        settings |= {"WATTFLEET_HOST": "0.0.0.0", "WATTFLEET_PORT": str(READER_PORT)}  # noqa: S104
        ports.append({"name": "http", "containerPort": READER_PORT})
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": _LEAVES_ROTATION_S}}}
    env = [{"name": name, "value": value} for name, value in settings.items()]
    return {**container, "env": env, "ports": ports}


def _secrets(process: DataPlaneProcess) -> dict[str, list[str]]:
    """Of each Secret that the process needs, just the keys that it needs."""
    found: dict[str, list[str]] = {}
    for secret in process.secrets.values():
        name, key = secret_of(secret)
        found.setdefault(name, []).append(key)
    return found


def _path(secret: str) -> str:
    name, key = secret_of(secret)
    return f"{_SECRETS_FOLDER}/{name}/{key}"


def _secret_volumes(process: DataPlaneProcess) -> list[Manifest]:
    return [
        {
            "name": name,
            "secret": {
                "secretName": name,
                "defaultMode": 0o440,
                "items": [{"key": key, "path": key} for key in keys],
            },
        }
        for name, keys in _secrets(process).items()
    ]


def _pod(role: str, shard: ShardId, look: Look, container: Manifest, volumes: Sequence[Manifest]) -> Manifest:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _labels(role, shard)},
    }
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _POD_SAFE,
        "terminationGracePeriodSeconds": _STOPS_WITHIN_S,
        "topologySpreadConstraints": [spread],
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
    }
    if look.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in look.pull_secrets]
    return {"metadata": {"labels": _labels(role, shard)}, "spec": spec}


def _disk(claim: str) -> Manifest:
    return {"name": "data", "persistentVolumeClaim": {"claimName": claim}}


def _labels(role: str, shard: ShardId) -> dict[str, str]:
    return {"app.kubernetes.io/part-of": "wattfleet", ROLE_LABEL: role, SHARD_LABEL: shard}


def _object(api_version: str, kind: str, role: str, shard: ShardId, spec: Manifest) -> Manifest:
    metadata = {"name": object_name(role, shard), "labels": _labels(role, shard)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _service(role: str, shard: ShardId, port: int) -> Manifest:
    spec = {"selector": _labels(role, shard), "ports": [{"name": "http", "port": port, "targetPort": "http"}]}
    return _object("v1", "Service", role, shard, spec)


def _guard(role: str, shard: ShardId, allowed: Sequence[Manifest]) -> Manifest:
    """Who may connect to the pods of this role, where the network enforces it."""
    spec = {"podSelector": {"matchLabels": _labels(role, shard)}, "policyTypes": ["Ingress"], "ingress": list(allowed)}
    return _object("networking.k8s.io/v1", "NetworkPolicy", role, shard, spec)


def _from_roles(shard: ShardId, roles: Iterable[str], port: int) -> Manifest:
    peers = [{"podSelector": {"matchLabels": _labels(role, shard)}} for role in roles]
    return {"from": peers, "ports": [{"port": port}]}


def _from_component(component: str, port: int) -> Manifest:
    peer = {"podSelector": {"matchLabels": {ROLE_LABEL: component}}}
    return {"from": [peer], "ports": [{"port": port}]}


def _port_of_anybody(port: int) -> Manifest:
    return {"ports": [{"port": port}]}
