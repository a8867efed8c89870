"""The objects that a shard is made of in a cluster: applied when they are not as wished, and known from a watch.

What was applied is remembered with the form that the API server gave it. As long as the watch tells of no other form,
a look at an object costs nothing; whatever somebody edits or deletes by hand is put back at once. Now and then all of
them are applied anyway, for what a spec does not show.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from lightkube import AsyncClient
from lightkube.core.generic_client import ListAsyncIterable
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import PersistentVolumeClaim, Service
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.types import PatchType
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.cluster import FIELD_MANAGER, LISTED_AT_ONCE, Gone, asking, roll
from wattfleet_operator.adapters.cluster_resources import Body, ClusterResources
from wattfleet_operator.errors import NotYet
from wattfleet_operator.manifests.shard_objects import SHARD_LABEL, Manifest

CLASSES: Mapping[str, Any] = {
    "PersistentVolumeClaim": PersistentVolumeClaim,
    "Service": Service,
    "NetworkPolicy": NetworkPolicy,
    "PodDisruptionBudget": PodDisruptionBudget,
    "StatefulSet": StatefulSet,
    "Deployment": Deployment,
}
_APPLIED_AGAIN_AFTER_S = 600.0
_RUNNING = {"Deployment": "availableReplicas", "StatefulSet": "readyReplicas"}

Key = tuple[str, str]


@dataclass(slots=True)
class _Seen:
    """An object as last seen. version: its resourceVersion, which only grows."""

    shard: str
    version: int
    form: object
    running: int
    wished: int


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied, the form that came of it, and when."""

    manifest: Manifest
    form: object
    at_s: float


class ClusterObjects:
    """The shards' objects in `namespace`, each owned by its Shard of `resources`."""

    def __init__(self, client: AsyncClient, namespace: str, resources: ClusterResources) -> None:
        self._client = client
        self._namespace = namespace
        self._resources = resources
        self._seen: dict[Key, _Seen] = {}
        self._applied: dict[Key, _Applied] = {}

    async def load(self) -> None:
        """Learns what is there; the watch tells the rest. Raises NotYet."""
        for kind, class_ in CLASSES.items():
            with asking():
                async for found in self._listing(class_):
                    self.saw(kind, None, found.to_dict())

    def saw(self, kind: str, event: str | None, body: Body) -> str | None:
        """What a watch tells of an object; returns whose shard has to be looked at for that, if any's."""
        key, seen = (kind, body["metadata"]["name"]), _read(kind, body)
        before = self._seen.get(key)
        if before is not None and seen.version < before.version:
            return None
        if event == "DELETED":
            self._seen.pop(key, None)
            return seen.shard
        self._seen[key] = seen
        if before is None or (before.form, before.running) != (seen.form, seen.running):
            return seen.shard
        return None

    async def call_roll(self) -> set[str]:
        """Forgets what is there no more; returns the shards that have to be looked at for that. Raises NotYet."""
        rolls = {kind: await roll(self._listing(class_)) for kind, class_ in CLASSES.items()}
        gone = []
        for (kind, name), seen in self._seen.items():
            names, version = rolls[kind]
            if name not in names and seen.version <= version:
                gone.append((kind, name))
        return {self._seen.pop(key).shard for key in gone}

    async def ensure(self, shard: ShardId, wished: Sequence[Manifest]) -> None:
        """Every object is as wished, and goes with its Shard. Raises NotYet."""
        owner = self._resources.owner("Shard", shard)
        await asyncio.gather(*[self._ensure(one, owner) for one in wished])

    def running(self, kind: str, name: str, reason: str) -> int:
        """How many pods of the object work; raises NotYet with this reason when it is none."""
        seen = self._seen.get((kind, name))
        if seen is None or seen.running < 1:
            wished = seen.wished if seen is not None else 1
            raise NotYet(reason, f"{kind} {name}: none of {wished} pods is ready")
        return seen.running

    async def remove(self, shard: ShardId, kinds: Iterable[str]) -> None:
        """The shard's objects of these kinds are deleted. Raises NotYet."""
        for kind, name in [key for key, seen in self._seen.items() if seen.shard == shard and key[0] in kinds]:
            try:
                with asking():
                    await self._client.delete(CLASSES[kind], name, namespace=self._namespace)
            except Gone:
                pass
            # Whether the watch has told of it yet or not: what was deleted does not run.
            self._seen.pop((kind, name), None)
            self._applied.pop((kind, name), None)

    def _listing(self, class_: Any) -> ListAsyncIterable[Any]:
        return self._client.list(
            class_, namespace=self._namespace, labels={SHARD_LABEL: None}, chunk_size=LISTED_AT_ONCE
        )

    async def _ensure(self, manifest: Manifest, owner: Body) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if self._is_as_wished(key, manifest):
            return
        owned = {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [dict(owner)]}}
        try:
            with asking():
                written = await self._client.patch(
                    CLASSES[key[0]],
                    key[1],
                    owned,
                    namespace=self._namespace,
                    patch_type=PatchType.APPLY,
                    field_manager=FIELD_MANAGER,
                    force=True,
                )
        except Gone as error:
            raise NotYet("Gone", str(error)) from error
        body: Body = written.to_dict()
        self.saw(key[0], "MODIFIED", body)
        self._applied[key] = _Applied(manifest, _read(key[0], body).form, monotonic())

    def _is_as_wished(self, key: Key, manifest: Manifest) -> bool:
        seen, applied = self._seen.get(key), self._applied.get(key)
        return (
            seen is not None
            and applied is not None
            and applied.manifest == manifest
            and applied.form == seen.form
            and monotonic() < applied.at_s + _APPLIED_AGAIN_AFTER_S
        )


def _read(kind: str, body: Body) -> _Seen:
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    labels = metadata.get("labels") or {}
    # Until its controller has seen the newest wish, what it says of pods is about an older one.
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    running = status.get(_RUNNING.get(kind, ""), 0) if current else 0
    form = (metadata["uid"], spec, bool(metadata.get("deletionTimestamp")))
    return _Seen(
        labels.get(SHARD_LABEL, ""), int(metadata["resourceVersion"]), form, running or 0, spec.get("replicas", 1)
    )
