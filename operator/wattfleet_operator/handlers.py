"""Where Kubernetes comes in: its events are handed on, and nothing is decided here.

kopf watches, and watches again when a connection is lost or too old. Its own bookkeeping in annotations is not used:
whatever happened, the loop looks at the resource as it stands.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import kopf
from wattfleet_tenants.crd import API_VERSION

from wattfleet_operator.adapters.cluster_resources import ClusterResources, Kind
from wattfleet_operator.adapters.cluster_secrets import HOUSEHOLD_LABEL, ClusterHomes
from wattfleet_operator.loop import Loop

_GROUP, _, _VERSION = API_VERSION.partition("/")
_PLURALS: dict[str, Kind] = {"households": "Household", "shards": "Shard"}


async def watch(resources: ClusterResources, homes: ClusterHomes, loop: Loop, namespace: str) -> None:
    """Hands on what happens to our resources, and to homes' Secrets in `namespace`, until it is cancelled.

    kopf has a thread and an event loop of its own: when it ends, it cancels whatever else it finds in its loop.
    """
    hand_on = asyncio.get_running_loop().call_soon_threadsafe
    stop, settings = threading.Event(), kopf.OperatorSettings()
    settings.posting.enabled = False
    logging.getLogger("kopf").setLevel(logging.WARNING)
    run = partial(
        kopf.run,
        registry=_registry(resources, homes, loop, hand_on),
        settings=settings,
        standalone=True,
        namespaces=[namespace],
        stop_flag=stop,
    )
    watching = asyncio.create_task(asyncio.to_thread(run))
    try:
        await asyncio.shield(watching)
    finally:
        stop.set()
        await watching


def _registry(
    resources: ClusterResources, homes: ClusterHomes, loop: Loop, hand_on: Callable[..., object]
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    def seen(kind: Kind) -> Any:
        async def one(type: str | None, body: kopf.Body, **_: Any) -> None:
            hand_on(resources.saw, kind, type, dict(body))

        return one

    def secret_seen(event: str | None, body: dict[str, Any]) -> None:
        household = homes.saw(event, body)
        if household is not None:
            loop.touch("Household", household)

    for plural, kind in _PLURALS.items():
        kopf.on.event(_GROUP, _VERSION, plural, id=f"seen-{plural}", registry=registry)(seen(kind))

    @kopf.on.event("v1", "secrets", labels={HOUSEHOLD_LABEL: kopf.PRESENT}, registry=registry)
    async def secret(type: str | None, body: kopf.Body, **_: Any) -> None:
        hand_on(secret_seen, type, dict(body))

    @kopf.on.login(registry=registry)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    return registry
