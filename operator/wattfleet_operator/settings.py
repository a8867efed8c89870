"""What the operator must be told in a cluster, read once from the environment that the chart gives it."""

import os
import socket
from dataclasses import dataclass

from wattfleet_tenants.settings import required, whole_number

from wattfleet_operator.manifests.shard_objects import Look
from wattfleet_operator.ports import StoreUrls


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of an operator in a cluster.

    identity: different for every process that ever takes part. edge_urls: the NATS servers as agents reach them.
    shared_store: a VictoriaMetrics cluster that is there, for shards that are its tenants.
    """

    look: Look
    nats_urls: tuple[str, ...]
    edge_urls: tuple[str, ...]
    identity: str
    shared_store: StoreUrls | None = None
    stream_replicas: int = 1

    @property
    def namespace(self) -> str:
        """Where the operator's Secrets, its Lease and the shards' objects are."""
        return self.look.namespace


def read_settings() -> Settings:
    """The settings in the environment; ends the process with one clear line when one is missing or wrong."""
    nats_urls = _listed(required("WATTFLEET_NATS_URLS"))
    return Settings(
        Look(
            required("WATTFLEET_NAMESPACE"),
            required("WATTFLEET_TENANTS_IMAGE"),
            required("WATTFLEET_STORE_IMAGE"),
            os.environ.get("WATTFLEET_IMAGE_PULL_POLICY") or "IfNotPresent",
            _listed(os.environ.get("WATTFLEET_IMAGE_PULL_SECRETS", "")),
            os.environ.get("WATTFLEET_STORAGE_CLASS", ""),
        ),
        nats_urls,
        _listed(os.environ.get("WATTFLEET_EDGE_URLS", "")) or nats_urls,
        # A container that is started again has its pod's name again.
        f"{os.environ.get('WATTFLEET_IDENTITY') or socket.gethostname()}-{os.urandom(4).hex()}",
        _shared_store(),
        whole_number("WATTFLEET_STREAM_REPLICAS", 1),
    )


def _shared_store() -> StoreUrls | None:
    insert, select = os.environ.get("WATTFLEET_STORE_INSERT_URL"), os.environ.get("WATTFLEET_STORE_SELECT_URL")
    if not insert and not select:
        return None
    return StoreUrls(required("WATTFLEET_STORE_INSERT_URL"), required("WATTFLEET_STORE_SELECT_URL"))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
