"""The reader's front door: `python -m wattfleet_tenants.reader`, set up by WATTFLEET_… environment variables."""

import asyncio
import os

import httpx

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.http_server import HttpServer
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.adapters.quarantine import JetStreamRefusals
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsHistory
from wattfleet_tenants.reader.app import create_app
from wattfleet_tenants.reader.grants import verifier
from wattfleet_tenants.reader.readiness import watch
from wattfleet_tenants.settings import existing_file, required, whole_number
from wattfleet_tenants.shard import parse_shard_id
from wattfleet_tenants.telemetry import logs
from wattfleet_tenants.telemetry.health import Health, serve_health

_STORE_TIMEOUT_S = 30.0


async def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    shard = parse_shard_id(required("WATTFLEET_SHARD"))
    servers, creds = required("WATTFLEET_NATS_URLS").split(","), existing_file("WATTFLEET_NATS_CREDS")
    select_url = required("WATTFLEET_STORE_SELECT_URL")
    key = existing_file("WATTFLEET_GRANT_KEY").read_text()
    host, port = os.environ.get("WATTFLEET_HOST", "127.0.0.1"), whole_number("WATTFLEET_PORT", 0)
    health = Health("broker", "store")
    serve_health(health)

    async with httpx.AsyncClient(timeout=_STORE_TIMEOUT_S, trust_env=False) as http:
        connection = NatsConnection()
        history = VictoriaMetricsHistory(http, select_url)
        app = create_app(history, JetStreamRefusals(connection, shard), verifier(key))
        server = HttpServer(app, host, port)
        connecting = connection.connect_to(servers, creds, f"reader-{shard}", subjects.READER_INBOX)
        beside = [
            asyncio.create_task(task)
            for task in (connecting, watch(health, connection, history), health.keep_beating())
        ]
        try:
            await server.serve()
        finally:
            for task in beside:
                task.cancel()
            await connection.close()


if __name__ == "__main__":
    logs.configure("reader")
    asyncio.run(main())
