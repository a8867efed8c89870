"""A shard's ingest, writers and readers as Deployments. Whether one works its pods say themselves, by their probes."""

from wattfleet_tenants.crd import Shard
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.cluster_objects import ClusterObjects
from wattfleet_operator.data_plane import ROLES, processes
from wattfleet_operator.manifests.shard_objects import Look, object_name, process_objects, reader_url
from wattfleet_operator.ports import Running, StoreUrls


class ClusterWorkloads:
    """Deployments among `objects`; `nats_urls` is where their pods connect to."""

    def __init__(self, objects: ClusterObjects, look: Look, nats_urls: tuple[str, ...]) -> None:
        self._objects = objects
        self._look = look
        self._nats_urls = nats_urls

    async def ensure(self, shard: Shard, store: StoreUrls) -> str:
        """The shard's ingest, writers and readers run as wished. Returns the readers' URL."""
        wished = process_objects(shard, processes(shard, store, self._nats_urls), self._look)
        await self._objects.ensure(shard.id, wished)
        return reader_url(shard.id, self._look.namespace)

    async def check(self, shard: ShardId) -> Running:
        """How many work. Raises NotYet unless of each of the shard's processes one says that it can do its work."""
        running = {
            role: self._objects.running("Deployment", object_name(role, shard), f"{role.capitalize()}NotReady")
            for role in ROLES
        }
        return Running(running["writer"], running["reader"])

    async def stop(self, shard: ShardId) -> None:
        """The shard's ingest, writers and readers no longer run."""
        await self._objects.remove(shard, ("Deployment", "PodDisruptionBudget"))
