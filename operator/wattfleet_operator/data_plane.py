"""What runs for a shard, wherever it runs: its ingest, its writers and its readers, with all that they must be told.

On one machine each is a process, in a cluster a Deployment. Secrets are only named here; whoever runs a process hands
them over as files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wattfleet_tenants.crd import Replicas, Shard

from wattfleet_operator.ports import StoreUrls
from wattfleet_operator.signing_keys import PUBLIC
from wattfleet_operator.vault_names import (
    ingest_credential,
    ingest_edge_credential,
    reader_credential,
    writer_credential,
)

ROLES = ("ingest", "writer", "reader")
_DAYS_PER_YEAR = 365  # as VictoriaMetrics counts its retention


@dataclass(frozen=True, slots=True)
class DataPlaneProcess:
    """One of a shard's processes. secrets: per environment variable, the vault's name of the file that it points to.
    serves: whether others ask it something, on a port of its own."""

    role: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str]
    replicas: Replicas
    serves: bool = False

    @property
    def module(self) -> str:
        """What Python runs."""
        return f"wattfleet_tenants.{self.role}"


def processes(shard: Shard, store: StoreUrls, nats_urls: Sequence[str]) -> tuple[DataPlaneProcess, ...]:
    """All of a shard's processes; the one that serves is asked for its readings."""
    common = {"WATTFLEET_SHARD": shard.id, "WATTFLEET_NATS_URLS": ",".join(nats_urls)}
    ingest = DataPlaneProcess(
        "ingest",
        common,
        {
            "WATTFLEET_EDGE_CREDS": ingest_edge_credential(shard.id),
            "WATTFLEET_NATS_CREDS": ingest_credential(shard.id),
        },
        Replicas(),
    )
    writer = DataPlaneProcess(
        "writer",
        {
            **common,
            "WATTFLEET_STORE_INSERT_URL": store.insert,
            "WATTFLEET_MAX_POWER_W": str(shard.spec.max_power_w),
            "WATTFLEET_RETENTION_DAYS": str(shard.spec.retention_years * _DAYS_PER_YEAR),
        },
        {"WATTFLEET_NATS_CREDS": writer_credential(shard.id)},
        shard.spec.writers,
    )
    reader = DataPlaneProcess(
        "reader",
        {**common, "WATTFLEET_STORE_SELECT_URL": store.select},
        {"WATTFLEET_NATS_CREDS": reader_credential(shard.id), "WATTFLEET_GRANT_KEY": PUBLIC},
        shard.spec.readers,
        serves=True,
    )
    return ingest, writer, reader
