"""The writer's front door: `python -m wattfleet_tenants.writer`, set up by WATTFLEET_… environment variables."""

import asyncio
import logging
import signal

import httpx

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.assignments import WatchedAssignments
from wattfleet_tenants.adapters.inbox import JetStreamInbox
from wattfleet_tenants.adapters.ledger import JetStreamLedger
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.adapters.quarantine import JetStreamQuarantine
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.settings import existing_file, required, whole_number
from wattfleet_tenants.shard import parse_shard_id
from wattfleet_tenants.telemetry import logs
from wattfleet_tenants.telemetry.health import Health, serve_health
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.writer import World, Writer

logger = logging.getLogger(__name__)

_STORE_TIMEOUT_S = 30.0


async def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    shard = parse_shard_id(required("WATTFLEET_SHARD"))
    servers, creds = required("WATTFLEET_NATS_URLS").split(","), existing_file("WATTFLEET_NATS_CREDS")
    insert_url = required("WATTFLEET_STORE_INSERT_URL")
    limits = Limits(
        whole_number("WATTFLEET_MAX_POWER_W", Limits().max_power_w),
        whole_number("WATTFLEET_RETENTION_DAYS", Limits().retention_days),
    )
    health = Health("inbox", "store", "assignments")
    serve_health(health)
    beating = asyncio.create_task(health.keep_beating())

    async with httpx.AsyncClient(timeout=_STORE_TIMEOUT_S, trust_env=False) as http:
        connection = NatsConnection()
        health.trouble("inbox", "NATS is away")
        await connection.connect_to(servers, creds, f"writer-{shard}", subjects.WRITER_INBOX)
        assignments = WatchedAssignments(connection)
        watching = asyncio.create_task(assignments.keep_watching())
        await assignments.loaded.wait()
        health.ok("assignments")
        stopping = _stop_signal(connection)
        watching.add_done_callback(lambda _: stopping.set())
        world = World(
            {lane: JetStreamInbox(connection, shard, lane) for lane in subjects.Lane},
            VictoriaMetricsStore(http, insert_url),
            JetStreamQuarantine(connection, shard),
            assignments,
            JetStreamLedger(connection, shard),
        )
        logger.info("writer runs", extra={"shard": shard})
        await Writer(world, limits, health).run(stopping)
        connection_lost, blind = connection.is_closed, watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await connection.close()
    beating.cancel()
    logger.info("writer stopped")
    if connection_lost:
        raise SystemExit("NATS closed the connection for good: is the credential still valid?")
    if blind:
        raise SystemExit("the shard's households are not watched any more")


def _stop_signal(connection: NatsConnection) -> asyncio.Event:
    """Set by SIGTERM and SIGINT, and when the connection is closed for good; whoever restarts us gets a new one."""
    stopping = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stopping.set)
    connection.on_closed.append(stopping.set)
    return stopping


if __name__ == "__main__":
    logs.configure("writer")
    asyncio.run(main())
