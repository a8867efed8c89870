"""A shard's store on one machine: a single-node VictoriaMetrics of its own, which is its tenant.

Samples are kept once each: redelivered ones have the same timestamp, and deduplication at 1 ms keeps one of them
(without it, a redelivery turned a sum of 11 into 37). It listens on the loopback address only.
"""

from pathlib import Path

import httpx
from wattfleet_tenants.crd import Shard, StorageMode
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.server_settings import STORE_ENVIRONMENT, STORE_FLAGS, STORE_FLUSH_S
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.series_deletion import delete_series, force_merge, has_series
from wattfleet_operator.embedded.free_ports import FreePorts
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.errors import Refused
from wattfleet_operator.ports import StoreUrls


class VictoriaMetricsStore:
    """Each shard's store as a process of `supervisor`, with its data below `folder`. program: VictoriaMetrics' path."""

    def __init__(self, supervisor: Supervisor, ports: FreePorts, folder: Path, program: str) -> None:
        self._supervisor = supervisor
        self._ports = ports
        self._folder = folder
        self._program = program

    async def ensure(self, shard: Shard) -> StoreUrls:
        """The shard's store runs as wished. Returns where it is written to and read from: the same."""
        if shard.spec.storage.mode is StorageMode.TENANT:
            raise Refused("NeedsACluster", "one machine has no cluster of stores: set storage.mode to dedicated")
        port = self._ports.port(_name(shard.id))
        data = self._folder / shard.id
        data.mkdir(parents=True, exist_ok=True)
        await self._supervisor.ensure(store_process(shard, self._program, port, data))
        return StoreUrls(self._url(shard.id), self._url(shard.id))

    async def check(self, shard: ShardId) -> None:
        """Raises NotYet unless the shard's store answers now."""
        await self._supervisor.check(_name(shard))

    async def has_series(self, shard: ShardId, household: HouseholdId) -> bool:
        """Whether any series of the household is found."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return await has_series(http, self._url(shard), household)

    async def erase(self, shard: ShardId, household: HouseholdId) -> None:
        """The household's series are deleted, and merged away as far as the store does so on demand."""
        async with httpx.AsyncClient(trust_env=False) as http:
            await delete_series(http, self._url(shard), household)
            await force_merge(http, self._url(shard))

    async def stop(self, shard: ShardId) -> None:
        """The shard's store no longer runs. What it stored stays."""
        await self._supervisor.stop(_name(shard))

    def _url(self, shard: ShardId) -> str:
        return f"http://127.0.0.1:{self._ports.port(_name(shard))}"


def store_process(shard: Shard, program: str, port: int, data: Path) -> Process:
    """A single node for `shard`. It takes what memory it needs from 256 MB: a demo's laptop has other work."""
    url = f"http://127.0.0.1:{port}"
    argv = (
        program,
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={data}",
        f"-retentionPeriod={shard.spec.retention_years}y",
        f"-inmemoryDataFlushInterval={STORE_FLUSH_S}s",
        "-memory.allowedBytes=256MB",
        *STORE_FLAGS,
    )
    return Process(_name(shard.id), argv, STORE_ENVIRONMENT, ready_url=f"{url}/health", url=url)


def _name(shard: ShardId) -> str:
    return f"store-{shard}"
