"""The fleet of a cluster: what the Kubernetes API told of its households and shards last.

All of it is learnt once and then followed, so that a placement costs no request and is there while the API server is
not. Of tens of thousands of households only the placements are kept. Nothing here reads a Secret or changes a resource
that exists: `get`, `list` and `watch` on households and shards and `create` on households are all the rights it needs.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import create_global_resource
from prometheus_client import Counter, Gauge
from pydantic import ValidationError
from wattfleet_tenants.crd import API_VERSION, Household, HouseholdSpec, Shard
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.telemetry.health import Health

from wattfleet_gateway.fleet import INVALID, FleetRefuses, FleetUnavailable, Placement, carried_by, reported
from wattfleet_gateway.settings import WrongSettings

logger = logging.getLogger(__name__)

PART = "fleet"
"""What health calls it: in trouble until everything was learnt once."""
FIELD_MANAGER = "wattfleet-gateway"

Body = Mapping[str, Any]
Facts = TypeVar("Facts")

_GROUP, _, _VERSION = API_VERSION.partition("/")
_HOUSEHOLDS = create_global_resource(_GROUP, _VERSION, "Household", "households")
_SHARDS = create_global_resource(_GROUP, _VERSION, "Shard", "shards")

LISTED_AT_ONCE = 500
# A connection whose other end went without a word is as silent as a fleet in which nothing happens.
_WATCHED_AT_ONCE_S = 240.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_EXISTS_ALREADY = "AlreadyExists"

_KNOWN = Gauge("wattfleet_gateway_fleet_resources", "Resources that are known", ["kind"])
_FOLLOWED = Gauge("wattfleet_gateway_fleet_followed", "1 while changes are heard of, 0 while they are not", ["kind"])
_CUTS = Counter("wattfleet_gateway_fleet_cuts_total", "How often all had to be learnt again", ["kind"])


class _Shelf(Generic[Facts]):
    """What is known of all resources of one kind, by name. unreadable: what is known of one that cannot be read."""

    def __init__(self, class_: Any, facts: Callable[[Body], Facts], unreadable: Facts) -> None:
        self.class_ = class_
        self.kind: str = class_.__name__
        self.known: dict[str, Facts] = {}
        self.learnt = False
        self._facts = facts
        self._unreadable = unreadable

    def read(self, body: Body) -> Facts:
        try:
            return self._facts({**body, "apiVersion": API_VERSION, "kind": self.kind})
        except ValidationError as error:
            # Only another definition lets such a one in; it hides none of the others.
            name = body["metadata"]["name"]
            logger.error(  # noqa: TRY400
                "resource cannot be read", extra={"kind": self.kind, "resource": name, "error": str(error)}
            )
            return self._unreadable

    def learn(self, known: dict[str, Facts]) -> None:
        """All that there is, at once: what is not in `known` is gone."""
        self.known, self.learnt = known, True
        _KNOWN.labels(self.kind).set(len(known))

    def saw(self, event: str, body: Body) -> None:
        """One change, as a watch tells it: ADDED, MODIFIED or DELETED."""
        if event == "DELETED":
            self.known.pop(body["metadata"]["name"], None)
        else:
            self.known[body["metadata"]["name"]] = self.read(body)
        _KNOWN.labels(self.kind).set(len(self.known))


class ClusterFleet:
    """The fleet that `client` reaches; `async with` follows it and closes the client. health: told when it is known."""

    def __init__(self, client: AsyncClient, health: Health) -> None:
        self._client = client
        self._health = health
        self._placements: dict[Placement, Placement] = {}
        self._households = _Shelf(_HOUSEHOLDS, self._household_facts, INVALID)
        self._shards = _Shelf[Shard | None](_SHARDS, Shard.model_validate, None)
        self._following: list[asyncio.Task[None]] = []

    def placement(self, household: HouseholdId) -> Placement:
        """What Kubernetes said of `household` last, from memory."""
        placement = self._households.known.get(household, Placement())
        try:
            shard = self._shards.known[placement.shard or ""]
        except KeyError:
            return placement
        return INVALID if shard is None else carried_by(shard, placement)

    async def create(self, household: HouseholdId, time_zone: str, region: str) -> None:
        """See `Fleet.create`."""
        spec = HouseholdSpec(time_zone=time_zone, region=region).model_dump(by_alias=True, exclude_unset=True)
        wished = _HOUSEHOLDS.from_dict({"metadata": {"name": household}, "spec": spec})
        try:
            made = await self._client.create(wished, field_manager=FIELD_MANAGER)
        except ApiError as error:
            if error.status.reason == _EXISTS_ALREADY:
                return
            if error.response.is_client_error:
                raise FleetRefuses(_words(error)) from error
            raise FleetUnavailable(_words(error)) from error
        except httpx2.HTTPError as error:
            raise FleetUnavailable(_words(error)) from error
        # The watch may have told more of it meanwhile.
        self._households.known.setdefault(household, self._households.read(made.to_dict()))

    async def lacks(self, household: HouseholdId) -> bool:
        """See `Fleet.lacks`. One that is known costs no request."""
        if household in self._households.known:
            return False
        if not self._households.learnt:
            raise FleetUnavailable("Households were never listed")
        try:
            # A list, for which it has the right; an API server that does not know households at all refuses it.
            listing = self._client.list(_HOUSEHOLDS, fields={"metadata.name": household})
            names = [found["metadata"]["name"] async for found in listing]
        except httpx2.HTTPError as error:
            raise FleetUnavailable(_words(error)) from error
        return household not in names

    def home_file_command(self, household: HouseholdId) -> str:
        """See `Fleet.home_file_command`."""
        # The operator's Secret of that name holds the home file; the gateway never sees it.
        secret, namespace = f"home-{household}", self._client.namespace
        chart = f"helm install {secret} charts/wattfleet-agent --namespace {namespace}"
        return f"{chart} --set home.existingSecret={secret} --set sensor=…"

    async def __aenter__(self) -> Self:
        self._following = [asyncio.create_task(self._follow(shelf)) for shelf in (self._households, self._shards)]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.wait(self._following)
        await self._client.close()

    async def _follow(self, shelf: _Shelf[Any]) -> None:
        """Keeps up with one kind, whatever the API server goes through; what is known stays until more is."""
        version, pause_s = None, _FIRST_PAUSE_S
        while True:
            try:
                version = version or await self._learn(shelf)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_WATCHED_AT_ONCE_S):
                        async for event, found in self._client.watch(shelf.class_, resource_version=version):
                            shelf.saw(event, found.to_dict())
                            version, pause_s = found.metadata.resourceVersion, _FIRST_PAUSE_S
            except Exception as error:  # a connection that is cut, a version that is too old, or a bug: learn again
                version = None
                self._note_cut(shelf, error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 (no secret)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _learn(self, shelf: _Shelf[Facts]) -> str:
        """Learns all that there is, and from which version on changes are news."""
        known: dict[str, Facts] = {}
        listing = self._client.list(shelf.class_, chunk_size=LISTED_AT_ONCE)
        async for found in listing:
            body = found.to_dict()
            known[body["metadata"]["name"]] = shelf.read(body)
        shelf.learn(known)
        _FOLLOWED.labels(shelf.kind).set(1)
        if self._households.learnt and self._shards.learnt:
            self._health.ok(PART)
        return listing.resourceVersion

    def _note_cut(self, shelf: _Shelf[Any], error: Exception) -> None:
        _FOLLOWED.labels(shelf.kind).set(0)
        _CUTS.labels(shelf.kind).inc()
        expected = isinstance(error, httpx2.HTTPError)
        logger.warning(
            "fleet not followed",
            extra={"kind": shelf.kind, "error": _words(error)},
            exc_info=None if expected else error,
        )
        if not shelf.learnt:
            self._health.trouble(PART, f"{shelf.kind}s were never listed: {_words(error)}")

    def _household_facts(self, body: Body) -> Placement:
        placement = reported(Household.model_validate(body))
        # Thousands of homes are placed alike: one object stands for all of them.
        return self._placements.setdefault(placement, placement)


def cluster_client() -> AsyncClient:
    """The API server of the cluster that this pod is in, or that KUBECONFIG names. Raises WrongSettings."""
    try:
        return AsyncClient(config=KubeConfig.from_env())
    except ConfigError as error:
        reason = f"WATTFLEET_FLEET=cluster, but there is neither a ServiceAccount's token nor a KUBECONFIG: {error}"
        raise WrongSettings(reason) from error


def _words(error: Exception) -> str:
    return f"Kubernetes: {error.status.message}"[:300] if isinstance(error, ApiError) else type(error).__name__
