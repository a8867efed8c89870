"""What every cluster has from the start: names for services (CoreDNS), and volumes for whoever claims one."""

from typing import Any

from wattfleet_e2e.network import DNS_SERVICE, FIRST_NODE

DNS_IMAGE = "wattfleet.io/coredns:1"
STORAGE_CLASS = "folders"
Manifest = dict[str, Any]

_LABELS = {"k8s-app": "kube-dns"}
_PORT = 1053  # a port that takes no rights
_COREFILE = f""".:{_PORT} {{
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def storage_class() -> Manifest:
    """The default one; its volumes are folders of this machine, made by e2e/coredns/volumes."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "wattfleet.io/folders",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def dns() -> list[Manifest]:
    """CoreDNS as an ordinary Deployment with the rights that it needs."""
    where = {"name": "coredns", "namespace": "kube-system"}
    reads = {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]}
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    rights = "rbac.authorization.k8s.io"
    role = {"kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": [reads, slices]}
    ports = [
        {"name": f"dns-{protocol.lower()}", "port": 53, "targetPort": _PORT, "protocol": protocol}
        for protocol in ("UDP", "TCP")
    ]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where},
        {"apiVersion": f"{rights}/v1", **role},
        {
            "apiVersion": f"{rights}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {"apiGroup": rights, "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"kind": "ServiceAccount", **where}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": {"Corefile": _COREFILE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": where, "spec": _dns_deployment()},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": _LABELS},
            "spec": {"clusterIP": DNS_SERVICE, "selector": _LABELS, "ports": ports},
        },
    ]


def _dns_deployment() -> Manifest:
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
        "ports": [{"containerPort": _PORT, "protocol": protocol} for protocol in ("UDP", "TCP")],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 60},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        # Nodes that are drained or lost are others.
        "nodeSelector": {"kubernetes.io/hostname": FIRST_NODE},
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    return {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
