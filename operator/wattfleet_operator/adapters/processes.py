"""A shard's ingest, writer and reader as processes of this machine, where a cluster has Deployments.

One of each: a machine with two cores gains nothing from more, and a wish for more is refused rather than ignored.
They find their credentials as files of the vault.
"""

import sys

from wattfleet_tenants.crd import Shard
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_identities import (
    ingest_credential,
    ingest_edge_credential,
    reader_credential,
    writer_credential,
)
from wattfleet_operator.embedded.free_ports import FreePorts
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.errors import Refused
from wattfleet_operator.signing_keys import PUBLIC

_DAYS_PER_YEAR = 365  # as VictoriaMetrics counts its retention


class ProcessWorkloads:
    """Ingests, writers and readers as processes of `supervisor`; `nats_urls` is where they connect to."""

    def __init__(
        self, supervisor: Supervisor, ports: FreePorts, vault: FolderVault, nats_urls: tuple[str, ...]
    ) -> None:
        self._supervisor = supervisor
        self._ports = ports
        self._vault = vault
        self._nats_urls = nats_urls

    async def ensure(self, shard: Shard, store_url: str) -> str:
        """The shard's ingest, writer and reader run as wished. Returns the reader's URL."""
        if shard.spec.writers.min > 1 or shard.spec.readers.min > 1:
            raise Refused("NeedsACluster", "one machine runs one writer and one reader: set their min to 1")
        await self._supervisor.ensure(self._ingest(shard.id))
        await self._supervisor.ensure(self._writer(shard, store_url))
        reader = self._reader(shard, store_url)
        await self._supervisor.ensure(reader)
        return reader.url or ""

    async def check(self, shard: ShardId) -> None:
        """Raises NotYet unless the shard's ingest, writer and reader say that they can do their work now."""
        await self._supervisor.check(f"ingest-{shard}")
        await self._supervisor.check(f"writer-{shard}")
        await self._supervisor.check(f"reader-{shard}")

    async def stop(self, shard: ShardId) -> None:
        """The shard's ingest, writer and reader no longer run."""
        for name in ("reader", "writer", "ingest"):
            await self._supervisor.stop(f"{name}-{shard}")

    def _ingest(self, shard: ShardId) -> Process:
        name = f"ingest-{shard}"
        health_port = self._ports.port(f"{name}-health")
        env = {
            "WATTFLEET_SHARD": shard,
            "WATTFLEET_NATS_URLS": ",".join(self._nats_urls),
            "WATTFLEET_EDGE_CREDS": str(self._vault.path(ingest_edge_credential(shard))),
            "WATTFLEET_NATS_CREDS": str(self._vault.path(ingest_credential(shard))),
            "WATTFLEET_HEALTH_PORT": str(health_port),
        }
        health = f"http://127.0.0.1:{health_port}"
        return Process(name, _module("wattfleet_tenants.ingest"), env, ready_url=f"{health}/readyz", url=health)

    def _writer(self, shard: Shard, store_url: str) -> Process:
        name = f"writer-{shard.id}"
        health_port = self._ports.port(f"{name}-health")
        env = {
            "WATTFLEET_SHARD": shard.id,
            "WATTFLEET_NATS_URLS": ",".join(self._nats_urls),
            "WATTFLEET_NATS_CREDS": str(self._vault.path(writer_credential(shard.id))),
            "WATTFLEET_STORE_INSERT_URL": store_url,
            "WATTFLEET_MAX_POWER_W": str(shard.spec.max_power_w),
            "WATTFLEET_RETENTION_DAYS": str(shard.spec.retention_years * _DAYS_PER_YEAR),
            "WATTFLEET_HEALTH_PORT": str(health_port),
        }
        health = f"http://127.0.0.1:{health_port}"
        return Process(name, _module("wattfleet_tenants.writer"), env, ready_url=f"{health}/readyz", url=health)

    def _reader(self, shard: Shard, store_url: str) -> Process:
        name = f"reader-{shard.id}"
        port, health_port = self._ports.port(name), self._ports.port(f"{name}-health")
        env = {
            "WATTFLEET_SHARD": shard.id,
            "WATTFLEET_NATS_URLS": ",".join(self._nats_urls),
            "WATTFLEET_NATS_CREDS": str(self._vault.path(reader_credential(shard.id))),
            "WATTFLEET_STORE_SELECT_URL": store_url,
            "WATTFLEET_GRANT_KEY": str(self._vault.path(PUBLIC)),
            "WATTFLEET_HOST": "127.0.0.1",
            "WATTFLEET_PORT": str(port),
            "WATTFLEET_HEALTH_PORT": str(health_port),
        }
        ready_url = f"http://127.0.0.1:{health_port}/readyz"
        return Process(name, _module("wattfleet_tenants.reader"), env, ready_url, url=f"http://127.0.0.1:{port}")


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
