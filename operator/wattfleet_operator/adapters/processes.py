"""A shard's ingest, writer and reader as processes of this machine, where a cluster has Deployments.

One of each: a machine with two cores gains nothing from more, and a wish for more is refused rather than ignored.
They find their credentials as files of the vault.
"""

import sys

from wattfleet_tenants.crd import Shard
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.data_plane import ROLES, DataPlaneProcess, processes
from wattfleet_operator.embedded.free_ports import FreePorts
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.errors import Refused
from wattfleet_operator.ports import Running, StoreUrls


class ProcessWorkloads:
    """Ingests, writers and readers as processes of `supervisor`; `nats_urls` is where they connect to."""

    def __init__(
        self, supervisor: Supervisor, ports: FreePorts, vault: FolderVault, nats_urls: tuple[str, ...]
    ) -> None:
        self._supervisor = supervisor
        self._ports = ports
        self._vault = vault
        self._nats_urls = nats_urls

    async def ensure(self, shard: Shard, store: StoreUrls) -> str:
        """The shard's ingest, writer and reader run as wished. Returns the reader's URL."""
        if shard.spec.writers.min > 1 or shard.spec.readers.min > 1:
            raise Refused("NeedsACluster", "one machine runs one writer and one reader: set their min to 1")
        url = ""
        for wished in processes(shard, store, self._nats_urls):
            process = self._process(wished, f"{wished.role}-{shard.id}")
            await self._supervisor.ensure(process)
            if wished.serves:
                url = process.url or ""
        return url

    async def check(self, shard: ShardId) -> Running:
        """One of each. Raises NotYet unless the shard's ingest, writer and reader can do their work now."""
        for role in ROLES:
            await self._supervisor.check(f"{role}-{shard}")
        return Running()

    async def stop(self, shard: ShardId) -> None:
        """The shard's ingest, writer and reader no longer run."""
        for role in reversed(ROLES):
            await self._supervisor.stop(f"{role}-{shard}")

    def _process(self, wished: DataPlaneProcess, name: str) -> Process:
        health_port = self._ports.port(f"{name}-health")
        secrets = {variable: str(self._vault.path(secret)) for variable, secret in wished.secrets.items()}
        env = {**wished.settings, **secrets, "WATTFLEET_HEALTH_PORT": str(health_port)}
        health = f"http://127.0.0.1:{health_port}"
        url = health
        if wished.serves:
            port = self._ports.port(name)
            env |= {"WATTFLEET_HOST": "127.0.0.1", "WATTFLEET_PORT": str(port)}
            url = f"http://127.0.0.1:{port}"
        return Process(name, (sys.executable, "-m", wished.module), env, ready_url=f"{health}/readyz", url=url)
