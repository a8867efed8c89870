"""The shard that is put to the test: broker, store, ingest and writer, each kept running by `KeptProcess`."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import httpx
from wattfleet_tenants.adapters.ledger import JetStreamLedger
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Totals, total
from wattfleet_tenants.testing.data_plane import IngestProcess, WriterProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import Program
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually

from wattfleet_bench.chaos.kept import KeptProcess
from wattfleet_bench.chaos.schedule import Victim
from wattfleet_bench.shard_under_test import assign, quiet

READY_WITHIN_S = 60.0
_PROBE_TIMEOUT_S = 2.0


class Shard:
    """Everything of it lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.broker = ShardBroker(folder / "nats")
        self.store = VictoriaMetrics(folder)
        ingest = IngestProcess(folder, self.broker)
        writer = WriterProcess(folder, self.broker, self.store.url)
        for program in (ingest, writer):
            quiet(program)
        self.parts = {
            Victim.INGEST: _kept(Victim.INGEST, ingest),
            Victim.BROKER: _kept(Victim.BROKER, self.broker.server),
            Victim.WRITER: _kept(Victim.WRITER, writer),
            Victim.STORE: _kept(Victim.STORE, self.store),
        }
        self._ready_urls = {
            Victim.INGEST: f"{ingest.health_url}/readyz",
            Victim.BROKER: f"http://127.0.0.1:{self.broker.server.monitor_port}/healthz",
            Victim.WRITER: f"{writer.health_url}/readyz",
            Victim.STORE: f"{self.store.url}/health",
        }

    async def start(self, households: Sequence[HouseholdId], ack_wait_s: float) -> None:
        """Runs and carries `households`; the broker delivers again what was not acknowledged for `ack_wait_s`."""
        self.parts[Victim.BROKER].keep()
        await self.ready(Victim.BROKER)
        await self.broker.ensure(ack_wait_s)
        await assign(self.broker, list(households))
        for victim in (Victim.STORE, Victim.INGEST, Victim.WRITER):
            self.parts[victim].keep()
        await self.ready(*self.parts)

    async def ready(self, *victims: Victim) -> None:
        """Returns when all of `victims` say that they can work; raises TimeoutError naming the one that does not."""
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False) as http:
            for victim in victims:
                answers = partial(_answers, http, self._ready_urls[victim])
                _: bool = await eventually(answers, READY_WITHIN_S, f"{victim} is ready")

    async def ledger(self) -> Totals:
        """The accounts of both lanes, as streams and bucket tell them; raises Unavailable or nats' errors."""
        async with self.broker.operator() as client:
            if not isinstance(client, NatsConnection):
                raise TypeError("the ledger needs one of our own connections")
            return total((await JetStreamLedger(client, self.broker.shard).totals()).values())

    async def end(self) -> None:
        """SIGKILL for all of it."""
        await ended(self.parts.values())


async def ended(processes: Iterable[KeptProcess]) -> None:
    """SIGKILL for all of them at the same moment; returns when none of them runs."""
    await asyncio.gather(*[process.end() for process in processes])


def _kept(victim: Victim, program: Program) -> KeptProcess:
    return KeptProcess(victim, program.argv, program.env, program.log)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).is_success
    except httpx.HTTPError:
        return False
