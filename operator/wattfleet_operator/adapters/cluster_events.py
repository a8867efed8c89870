"""What an admin should know of a resource, as Kubernetes Events: `kubectl describe` and `kubectl get events` show them.

An Event is news and nothing that anything relies on: one that cannot be written is left to the log.
"""

import logging
import secrets
from datetime import UTC, datetime

from lightkube import AsyncClient
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event
from wattfleet_tenants.crd import API_VERSION, Household, Shard

from wattfleet_operator.adapters.cluster import FIELD_MANAGER, Gone, asking
from wattfleet_operator.adapters.cluster_resources import ClusterResources
from wattfleet_operator.errors import NotYet

logger = logging.getLogger(__name__)

_NAMESPACE = "default"
"""The only one in which Kubernetes takes Events about what lies in none."""


class ClusterEvents:
    """Events about `resources`."""

    def __init__(self, client: AsyncClient, resources: ClusterResources) -> None:
        self._client = client
        self._resources = resources

    async def tell(self, resource: Household | Shard, reason: str, message: str, *, warning: bool = False) -> None:
        """Leaves one Event."""
        name, now = resource.metadata.name, datetime.now(UTC)
        try:
            about = ObjectReference(
                apiVersion=API_VERSION,
                kind=resource.kind,
                name=name,
                uid=self._resources.owner(resource.kind, name)["uid"],
            )
            event = Event(
                metadata=ObjectMeta(name=f"{name}.{secrets.token_hex(8)}", namespace=_NAMESPACE),
                involvedObject=about,
                reason=reason,
                message=message,
                type="Warning" if warning else "Normal",
                source=EventSource(component=FIELD_MANAGER),
                firstTimestamp=now,
                lastTimestamp=now,
                count=1,
            )
            with asking():
                await self._client.create(event)
        except (NotYet, Gone) as error:
            logger.warning("an Event could not be written", extra={"resource": name, "error": str(error)[:200]})
