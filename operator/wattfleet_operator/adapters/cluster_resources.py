"""The custom resources of a cluster, as its API server told of them last.

Everything is remembered from events, so that looking costs nothing. What the operator writes is remembered at once,
and an event that is older than that is not believed: it would undo a placement that was just recorded.

A placement is recorded in an annotation, in one write with the finalizer; the status repeats it with the first report.
So a birth is three writes, of which the API server takes most of the time, and a household that comes back from a
backup without its status, as they do, comes back to where its readings are.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from lightkube import AsyncClient
from lightkube.types import PatchType
from pydantic import ValidationError
from wattfleet_tenants.crd import API_VERSION, Household, Shard, Status
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.placement import Place
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.shard import SHARD_ID_PATTERN, ShardId

from wattfleet_operator.adapters.cluster import FIELD_MANAGER, HOUSEHOLDS, LISTED_AT_ONCE, SHARDS, Gone, asking, roll
from wattfleet_operator.errors import NotYet

logger = logging.getLogger(__name__)

FINALIZER = "wattfleet.io/operator"
PLACE = "wattfleet.io/place"
"""The annotation that says where a household is carried and when it sends: `<household>/<shard>/<send phase in ms>`.

With its own name in it, a household that is made of another one's manifest is not taken to be where that one is.
"""
Kind = Literal["Household", "Shard"]
Resource = TypeVar("Resource", Household, Shard)
Body = Mapping[str, Any]

_PLACE = re.compile(rf"(?P<name>[^/]+)/(?P<shard>{SHARD_ID_PATTERN.strip('^$')})/(?P<phase>[0-9]{{1,5}})")
_MERELY_TOLD = frozenset({"credentialKeys"})
"""What may go unsaid where the definition does not have it yet. Not so what records a decision: it would be taken
again at each look."""
# What server-side apply says of a field that the definition in the cluster does not have.
_UNDECLARED = re.compile(r"\.status\.(?P<field>\w+): field not declared in schema")
_CLASSES: dict[Kind, Any] = {"Household": HOUSEHOLDS, "Shard": SHARDS}


@dataclass(frozen=True, slots=True)
class _Seen:
    """A resource, and what only Kubernetes needs of it. version: its resourceVersion, which only grows.

    resource: None when it cannot be read; a household is carried by its shard all the same. held: by the finalizer.
    place: a household's, as status and annotation have it: its shard and its send phase in ms. recorded: whether the
    annotation says so; one that an older operator placed has none yet.
    """

    resource: Household | Shard | None
    uid: str
    version: int
    held: bool
    recorded: bool
    place: tuple[ShardId | None, int | None]


@dataclass(slots=True)
class _Shelf:
    """All resources of one kind, by name."""

    model: type[Household] | type[Shard]
    seen: dict[str, _Seen] = field(default_factory=dict)


class ClusterResources:
    """The resources that `client` reaches."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._shelves: dict[str, _Shelf] = {"Household": _Shelf(Household), "Shard": _Shelf(Shard)}
        self._phases: dict[ShardId, Counter[int | None]] = {}
        self._changed = True
        self._left_out: set[str] = set()

    async def load(self) -> None:
        """Learns what is there, which a loop has to know before its first look: a shard whose households are not known
        yet would seem to be empty. The watch tells the rest. Raises NotYet."""
        for kind, class_ in _CLASSES.items():
            with asking():
                async for found in self._client.list(class_, chunk_size=LISTED_AT_ONCE):
                    body: Body = found.to_dict()
                    self.saw(kind, None, body)

    def saw(self, kind: Kind, event: str | None, body: Body) -> None:
        """What a watch tells: `event` is ADDED, MODIFIED, DELETED, or None for what was there at its start."""
        name, version = body["metadata"]["name"], int(body["metadata"]["resourceVersion"])
        before = self._shelves[kind].seen.get(name)
        if before is not None and version <= before.version:
            return
        self._remember(kind, name, None if event == "DELETED" else self._read(kind, body))
        self._changed = True

    async def call_roll(self) -> set[str]:
        """Forgets those that are there no more; returns their names. Raises NotYet."""
        missed = set()
        for kind, class_ in _CLASSES.items():
            names, version = await roll(self._client.list(class_, chunk_size=LISTED_AT_ONCE))
            for name, seen in list(self._shelves[kind].seen.items()):
                if name not in names and seen.version <= version:
                    self._remember(kind, name, None)
                    missed.add(name)
        self._changed = self._changed or bool(missed)
        return missed

    def changed(self) -> bool:
        """Whether any of them may have changed since this was last asked."""
        changed, self._changed = self._changed, False
        return changed

    def households(self) -> Sequence[Household]:
        """All households."""
        return [one.resource for one in self._shelves["Household"].seen.values() if isinstance(one.resource, Household)]

    def household(self, household: HouseholdId) -> Household | None:
        """One household, or None."""
        seen = self._shelves["Household"].seen.get(household)
        return seen.resource if seen is not None and isinstance(seen.resource, Household) else None

    def shards(self) -> Sequence[Shard]:
        """All shards."""
        return [one.resource for one in self._shelves["Shard"].seen.values() if isinstance(one.resource, Shard)]

    def shard(self, shard: ShardId) -> Shard | None:
        """One shard, or None."""
        seen = self._shelves["Shard"].seen.get(shard)
        return seen.resource if seen is not None and isinstance(seen.resource, Shard) else None

    def phases(self, shard: ShardId) -> Mapping[int | None, int]:
        """How many households the shard carries, by their send phase in ms (None: they were given none)."""
        return self._phases.get(shard, {})

    def owner(self, kind: Kind, name: str) -> Body:
        """What makes an object go with this resource; raises NotYet when that has gone already."""
        seen = self._shelves[kind].seen.get(name)
        if seen is None:
            raise NotYet("Gone", f"{kind} {name} was deleted meanwhile")
        return {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": seen.uid, "controller": True}

    async def hold(self, resource: Household | Shard) -> None:
        """The resource does not go before `finish`, whoever deletes it."""
        seen = self._seen(resource)
        if not (seen.held and seen.recorded):
            await self._apply(resource, {"metadata": _held(resource.metadata.name, *seen.place)})

    async def place(self, household: Household, place: Place) -> None:
        """Holds a household and records where it is carried and when it sends."""
        taken = (place.shard, place.send_phase_ms)
        self._count(taken, +1)  # until what is recorded counts by itself, or could not be recorded
        try:
            await self._apply(household, {"metadata": _held(household.id, place.shard, place.send_phase_ms)})
        finally:
            self._count(taken, -1)

    async def report(self, resource: Household | Shard, status: Status) -> None:
        """Writes how the resource stands."""
        await self._report(resource, status.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def _report(self, resource: Household | Shard, told: Body) -> None:
        """Without what the definition in the cluster does not have: during an upgrade it may be an older one."""
        try:
            await self._apply(resource, {"status": told}, subresource=True)
        except NotYet as error:
            undeclared = _UNDECLARED.search(error.message)
            field = undeclared["field"] if undeclared is not None else ""
            if field not in _MERELY_TOLD & told.keys():
                raise
            if field not in self._left_out:
                logger.warning("the definitions are older than the operator", extra={"left_out": field})
                self._left_out.add(field)
            await self._report(resource, {name: part for name, part in told.items() if name != field})

    async def finish(self, resource: Household | Shard) -> None:
        """Lets go of a deleted resource, after everything that belonged to it."""
        if self._seen(resource).held:
            left = await self._apply(resource, {"metadata": {}})
            if FINALIZER in left["metadata"].get("finalizers", []):
                await self._let_go(resource, left)
        self._remember(resource.kind, resource.metadata.name, None)

    def _seen(self, resource: Household | Shard) -> _Seen:
        seen = self._shelves[resource.kind].seen.get(resource.metadata.name)
        if seen is None:
            raise NotYet("Gone", "it was deleted meanwhile")
        return seen

    async def _let_go(self, resource: Household | Shard, left: Body) -> None:
        """Of one whose finalizer somebody else owns as well, since it came with a manifest, as from a backup."""
        others = [one for one in left["metadata"]["finalizers"] if one != FINALIZER]
        metadata = {"finalizers": others, "resourceVersion": left["metadata"]["resourceVersion"]}
        try:
            with asking():
                name, class_ = resource.metadata.name, _CLASSES[resource.kind]
                await self._client.patch(class_, name, {"metadata": metadata}, patch_type=PatchType.MERGE)
        except Gone as error:
            raise NotYet("Gone", str(error)) from error

    async def _apply(self, resource: Household | Shard, wished: dict[str, Any], *, subresource: bool = False) -> Body:
        """Server-side apply of just `wished`; what it is then. The uid keeps it from making anew what was deleted."""
        name = resource.metadata.name
        metadata = {**wished.get("metadata", {}), "name": name, "uid": self._seen(resource).uid}
        manifest = {"apiVersion": API_VERSION, "kind": resource.kind, **wished, "metadata": metadata}
        class_ = _CLASSES[resource.kind]
        target = class_.Status if subresource else class_
        try:
            with asking():
                answer = await self._client.patch(
                    target, name, manifest, patch_type=PatchType.APPLY, field_manager=FIELD_MANAGER, force=True
                )
        except Gone as error:
            raise NotYet("Gone", str(error)) from error
        body: Body = answer.to_dict()
        if int(body["metadata"]["resourceVersion"]) >= self._seen(resource).version:
            self._remember(resource.kind, name, self._read(resource.kind, body))
        return body

    def _read(self, kind: Kind, body: Body) -> _Seen:
        metadata, status = body["metadata"], body.get("status") or {}
        annotation = (metadata.get("annotations") or {}).get(PLACE, "")
        if kind == "Household":
            status = _with_place(status, metadata["name"], annotation)
        resource: Household | Shard | None = None
        try:
            told = {**body, "apiVersion": API_VERSION, "kind": kind, "status": status}
            resource = self._shelves[kind].model.model_validate(told)
        except ValidationError as error:
            # Only an older definition lets such a one in; it hides none of the others.
            logger.error(  # noqa: TRY400
                "resource cannot be read", extra={"kind": kind, "resource": metadata["name"], "error": str(error)}
            )
        held = FINALIZER in metadata.get("finalizers", [])
        place = (status.get("shard"), status.get("sendPhaseMs")) if kind == "Household" else (None, None)
        recorded = annotation == _annotation(metadata["name"], *place)
        return _Seen(resource, metadata["uid"], int(metadata["resourceVersion"]), held, recorded, place)

    def _remember(self, kind: Kind, name: str, seen: _Seen | None) -> None:
        shelf = self._shelves[kind].seen
        before = shelf.pop(name, None)
        if before is not None:
            self._count(before.place, -1)
        if seen is not None:
            shelf[name] = seen
            self._count(seen.place, +1)

    def _count(self, place: tuple[ShardId | None, int | None], by: int) -> None:
        shard, phase_ms = place
        if shard is not None:
            self._phases.setdefault(shard, Counter())[phase_ms] += by


def _held(name: str, shard: ShardId | None, phase_ms: int | None) -> dict[str, Any]:
    """The operator's part of a resource's metadata."""
    annotation = _annotation(name, shard, phase_ms)
    return {"finalizers": [FINALIZER], **({"annotations": {PLACE: annotation}} if annotation else {})}


def _annotation(name: str, shard: ShardId | None, phase_ms: int | None) -> str:
    """Empty where there is no place to record."""
    return "" if shard is None or phase_ms is None else f"{name}/{shard}/{phase_ms}"


def _with_place(status: Body, name: str, annotation: str) -> Body:
    """`status` with the place that the annotation adds to it. An annotation that says nonsense says nothing."""
    found = _PLACE.fullmatch(annotation)
    if found is None or found["name"] != name or int(found["phase"]) >= INTERVAL_MS:
        return status
    shard = found["shard"]
    return (
        {"shard": shard, "sendPhaseMs": int(found["phase"]), **status}
        if status.get("shard", shard) == shard
        else status
    )
