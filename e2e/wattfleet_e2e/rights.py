"""What the parts of the platform may ask of Kubernetes: in the whole cluster, in their namespace, in `default`.

Stories hold it against what the chart grants, and against what the parts really ask for.
"""

from collections.abc import Mapping

Rights = Mapping[str, Mapping[str, set[str]]]

_LOOK, _MAKE, _REMOVE = {"list", "watch"}, {"create", "patch"}, {"delete"}

OPERATOR: Rights = {
    "cluster": {
        "households.wattfleet.io": _LOOK | {"patch"},
        "households.wattfleet.io/status": {"patch"},
        "shards.wattfleet.io": _LOOK | {"patch"},
        "shards.wattfleet.io/status": {"patch"},
    },
    "namespace": {
        "secrets": _LOOK | _MAKE | _REMOVE | {"get", "update"},
        "leases.coordination.k8s.io": {"get", "create", "update"},
        # These go with their Shard.
        "services": _LOOK | _MAKE,
        "persistentvolumeclaims": _LOOK | _MAKE,
        "networkpolicies.networking.k8s.io": _LOOK | _MAKE,
        "deployments.apps": _LOOK | _MAKE | _REMOVE,
        "statefulsets.apps": _LOOK | _MAKE | _REMOVE,
        "poddisruptionbudgets.policy": _LOOK | _MAKE | _REMOVE,
    },
    "default": {"events": {"create"}},
}
GATEWAY: Rights = {
    "cluster": {"households.wattfleet.io": _LOOK | {"create"}, "shards.wattfleet.io": _LOOK},
}


def pairs(rights: Rights, *places: str) -> set[tuple[str, str]]:
    """Resources and verbs that are granted in these places."""
    return {(name, verb) for place in places for name, verbs in rights.get(place, {}).items() for verb in verbs}
