"""A shard's store in a cluster: a VictoriaMetrics of its own, or a tenant of a VictoriaMetrics cluster that is there.

A tenant is an account in the URL, as `vminsert` and `vmselect` have it: /insert/ACCOUNT/prometheus and
/select/ACCOUNT/prometheus, and /delete/ACCOUNT/prometheus for what is to be erased.
"""

from dataclasses import dataclass
from time import monotonic

import httpx
from wattfleet_tenants.crd import Shard, StorageMode
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.cluster_objects import ClusterObjects
from wattfleet_operator.adapters.series_deletion import delete_series, force_merge, has_series
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.manifests.shard_objects import Look, object_name, store_host, store_objects
from wattfleet_operator.ports import Resources, StoreUrls

_TIMEOUT_S = 5.0
_GOOD_FOR_S = 2.0
"""Each household asks for its shard's store at every look; thousands of births need no more answers than this."""


@dataclass(frozen=True, slots=True)
class _Doors:
    """Base URLs. merges: whether what was deleted can be merged away on demand."""

    insert: str
    select: str
    delete: str
    merges: bool


class ClusterStore:
    """The shards' stores among `objects`, or in the cluster of stores at `shared`, if there is one."""

    def __init__(
        self,
        objects: ClusterObjects,
        resources: Resources,
        look: Look,
        shared: StoreUrls | None,
        http: httpx.AsyncClient,
    ) -> None:
        self._objects = objects
        self._resources = resources
        self._look = look
        self._shared = shared
        self._http = http
        self._answered_s: dict[ShardId, float] = {}

    async def ensure(self, shard: Shard) -> StoreUrls:
        """The shard's store runs as wished. Returns where it is written to and read from."""
        doors = self._doors(shard)
        await self._objects.ensure(shard.id, store_objects(shard, self._look))
        return StoreUrls(doors.insert, doors.select)

    async def check(self, shard: ShardId) -> None:
        """Raises NotYet unless the shard's store answered a question a moment ago, or answers one now."""
        wished = self._wished(shard)
        if wished.spec.storage.mode is StorageMode.DEDICATED:
            self._objects.running("StatefulSet", object_name("store", shard), "StoreNotReady")
        if monotonic() < self._answered_s.get(shard, 0.0) + _GOOD_FOR_S:
            return
        try:
            url = f"{self._doors(wished).select}/api/v1/query"
            (await self._http.get(url, params={"query": "1"}, timeout=_TIMEOUT_S)).raise_for_status()
        except httpx.HTTPError as error:
            raise NotYet("StoreUnavailable", f"VictoriaMetrics: {type(error).__name__}") from error
        self._answered_s[shard] = monotonic()

    async def has_series(self, shard: ShardId, household: HouseholdId) -> bool:
        """Whether any series of the household is found."""
        return await has_series(self._http, self._doors(self._wished(shard)).select, household)

    async def erase(self, shard: ShardId, household: HouseholdId) -> None:
        """The household's series are deleted, and merged away as far as the store does so on demand."""
        doors = self._doors(self._wished(shard))
        await delete_series(self._http, doors.delete, household)
        if doors.merges:
            await force_merge(self._http, doors.delete)

    async def stop(self, shard: ShardId) -> None:
        """The shard's store no longer runs. Its disk goes with its Shard."""
        await self._objects.remove(shard, ("StatefulSet",))

    def _wished(self, shard: ShardId) -> Shard:
        found = self._resources.shard(shard)
        if found is None:
            raise NotYet("Gone", f"Shard {shard} was deleted meanwhile")
        return found

    def _doors(self, shard: Shard) -> _Doors:
        if shard.spec.storage.mode is StorageMode.DEDICATED:
            url = f"http://{store_host(shard.id, self._look.namespace)}"
            return _Doors(url, url, url, merges=True)
        if self._shared is None:
            raise Refused(
                "NoSharedStore", "mode tenant needs a VictoriaMetrics cluster: set the chart's shards.storeCluster"
            )
        account = shard.status.store_account
        if account is None:
            raise NotYet("NoAccount", "its account in the cluster of stores is not recorded yet")
        insert, select = self._shared.insert.rstrip("/"), self._shared.select.rstrip("/")
        return _Doors(
            f"{insert}/insert/{account}/prometheus",
            f"{select}/select/{account}/prometheus",
            f"{select}/delete/{account}/prometheus",
            merges=False,
        )
