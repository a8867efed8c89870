"""Where Kubernetes comes in: its events are handed on, and nothing is decided here.

kopf watches, and watches again when a connection is lost or too old; what it cannot tell of then, `roll_call.py` sees
to. Its own bookkeeping in annotations is not used: whatever happened, the loop looks at the resource as it stands.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import kopf
from lightkube.core.resource import api_info
from wattfleet_tenants.crd import API_VERSION

from wattfleet_operator.adapters.cluster_objects import CLASSES, ClusterObjects
from wattfleet_operator.adapters.cluster_resources import Body, ClusterResources, Kind
from wattfleet_operator.adapters.cluster_secrets import HOUSEHOLD_LABEL, ClusterHomes
from wattfleet_operator.loop import Loop
from wattfleet_operator.manifests.shard_objects import SHARD_LABEL

_GROUP, _, _VERSION = API_VERSION.partition("/")
_PLURALS: dict[str, Kind] = {"households": "Household", "shards": "Shard"}

_WATCHED_AT_ONCE_S = 20
"""The API server ends a watch after this and says, two seconds before, up to which version it has told everything. So
a healthy watch is never silent for longer, and goes on from a version that is known still; nine requests in 20 s."""
_SILENT_AT_MOST_S = 30.0
"""One that is silent for longer leads nowhere: a connection that a machine in between has forgotten ends without a
word, and nothing but silence tells of it."""
_CONNECTED_WITHIN_S = 5.0
_ANSWERED_WITHIN_S = 60.0
_LEFT_AFTER_S = 0.05
_PAUSES_S = (0.5, 1.0, 2.0, *[4.0] * 12)
"""Between attempts. kopf's own grow to 21 s, for which nobody would look when the API server is back."""


class _NoDiffs(kopf.DiffBaseStorage):
    """Nobody asks what has changed: the loop sees to that. Working it out took a fifth of kopf's CPU."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Nothing to compare with."""

    def store(self, **_: Any) -> None:
        """Nothing to keep."""


async def watch(
    resources: ClusterResources, homes: ClusterHomes, objects: ClusterObjects, loop: Loop, namespace: str
) -> None:
    """Hands on what happens to our resources, and to homes' Secrets and shards' objects in `namespace`, until it is
    cancelled.

    kopf has a thread and an event loop of its own: when it ends, it cancels whatever else it finds in its loop.
    """
    hand_on = asyncio.get_running_loop().call_soon_threadsafe
    stop = threading.Event()
    logging.getLogger("kopf").setLevel(logging.WARNING)
    operator = partial(
        kopf.operator,
        registry=_registry(resources, homes, objects, loop, hand_on),
        settings=_settings(),
        standalone=True,
        namespaces=[namespace],
        stop_flag=stop,
    )
    watching = asyncio.create_task(asyncio.to_thread(_run, operator))
    try:
        await asyncio.shield(watching)
    finally:
        stop.set()
        await watching


def _run(operator: Callable[[], Coroutine[None, None, None]]) -> None:
    """Runs kopf to its end. A connection that it gave up half-made is closed in the loop's next rounds only."""
    with asyncio.Runner() as runner:
        with suppress(asyncio.CancelledError):
            runner.run(operator())
        runner.run(asyncio.sleep(_LEFT_AFTER_S))


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # Namespaces and definitions are what they are: the operator needs no right to look at them.
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.watching.server_timeout = _WATCHED_AT_ONCE_S
    settings.watching.inactivity_timeout = _SILENT_AT_MOST_S
    settings.networking.connect_timeout = _CONNECTED_WITHIN_S
    settings.networking.request_timeout = _ANSWERED_WITHIN_S
    settings.networking.error_backoffs = _PAUSES_S
    return settings


def _registry(
    resources: ClusterResources,
    homes: ClusterHomes,
    objects: ClusterObjects,
    loop: Loop,
    hand_on: Callable[..., object],
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    def on(*api: str, see: Callable[[str | None, Body], None], label: str | None = None) -> None:
        async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:
            hand_on(see, type, dict(body))

        labels = {label: kopf.PRESENT} if label else None
        kopf.on.event(*api, id="-".join(api), labels=labels, registry=registry)(seen)

    def secret_seen(event: str | None, body: Body) -> None:
        if household := homes.saw(event, body):
            loop.touch("Household", household)

    def object_seen(kind: str, event: str | None, body: Body) -> None:
        if shard := objects.saw(kind, event, body):
            loop.touch("Shard", shard)

    for plural, kind in _PLURALS.items():
        on(_GROUP, _VERSION, plural, see=partial(resources.saw, kind))
    on("v1", "secrets", see=secret_seen, label=HOUSEHOLD_LABEL)
    for name, class_ in CLASSES.items():
        api = api_info(class_)
        group = (api.resource.group,) if api.resource.group else ()
        on(*group, api.resource.version, api.plural, see=partial(object_seen, name), label=SHARD_LABEL)

    @kopf.on.login(registry=registry)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    return registry
