"""The ingest's front door: `python -m wattfleet_tenants.ingest`, set up by WATTFLEET_… environment variables."""

import asyncio
import contextlib
import logging
import signal

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.assignments import WatchedAssignments
from wattfleet_tenants.adapters.bulk_connection import MEASUREMENTS_EVERY_S, BulkConnection
from wattfleet_tenants.adapters.bundles_out import JetStreamBundles
from wattfleet_tenants.ingest.ingest import Ingest
from wattfleet_tenants.settings import existing_file, required
from wattfleet_tenants.shard import parse_shard_id
from wattfleet_tenants.telemetry import logs
from wattfleet_tenants.telemetry.health import Health, serve_health

logger = logging.getLogger(__name__)

_QUOTAS_WITHIN_S = 5.0


async def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    shard = parse_shard_id(required("WATTFLEET_SHARD"))
    servers = required("WATTFLEET_NATS_URLS").split(",")
    edge_creds, ing_creds = existing_file("WATTFLEET_EDGE_CREDS"), existing_file("WATTFLEET_NATS_CREDS")
    health = Health("edge", "stream")
    serve_health(health)
    beating = asyncio.create_task(health.keep_beating())

    edge, ing = BulkConnection(MEASUREMENTS_EVERY_S), BulkConnection()
    health.trouble("stream", "NATS is away")
    await ing.connect_to(servers, ing_creds, f"ingest-{shard}", subjects.INGEST_INBOX)
    health.trouble("edge", "NATS is away")
    await edge.connect_to(servers, edge_creds, f"ingest-{shard}", subjects.INGEST_INBOX)
    assignments = WatchedAssignments(ing)
    watching = asyncio.create_task(assignments.keep_watching())
    with contextlib.suppress(TimeoutError):  # without quotas, homes have the shares of those that have none
        await asyncio.wait_for(assignments.loaded.wait(), _QUOTAS_WITHIN_S)
    logger.info("ingest runs", extra={"shard": shard})
    await Ingest(shard, edge, JetStreamBundles(ing, shard), assignments, health).run(_stop_signal(edge, ing))
    connection_lost = edge.is_closed or ing.is_closed
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for connection in (edge, ing):
        await connection.close()
    beating.cancel()
    logger.info("ingest stopped")
    if connection_lost:
        raise SystemExit("NATS closed the connection for good: is the credential still valid?")


def _stop_signal(*connections: BulkConnection) -> asyncio.Event:
    """Set by SIGTERM and SIGINT, and when a connection is closed for good; whoever restarts us gets a new one."""
    stopping = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stopping.set)
    for connection in connections:
        connection.on_closed.append(stopping.set)
    return stopping


if __name__ == "__main__":
    logs.configure("ingest")
    asyncio.run(main())
