"""The writer against a real broker and a real store: nothing lost, nothing doubled, nothing refused in silence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from nats.js.errors import APIError
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.assignments import WatchedAssignments
from wattfleet_tenants.adapters.inbox import JetStreamInbox
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.adapters.quarantine import KEPT_BYTES, REASON, SEQUENCE, JetStreamQuarantine, JetStreamRefusals
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.series import power_selector
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.builders import A_MINUTE_MS, message, minutes
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire.readings_pb2 import Readings
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.writer import World, Writer

NOW_MS = A_MINUTE_MS
HOLD_S = 0.3


@asynccontextmanager
async def connected(broker: ShardBroker, creds: Path, inbox: str) -> AsyncIterator[NatsConnection]:
    connection = NatsConnection()
    await connection.connect_to([broker.url], creds, "test", inbox)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def writer_running(broker: ShardBroker, store_url: str, hold_s: float = HOLD_S) -> AsyncIterator[Health]:
    health = Health("inbox", "store", "assignments")
    stopping = asyncio.Event()
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats, httpx.AsyncClient() as http:
        assignments = WatchedAssignments(nats)
        watching = asyncio.create_task(assignments.keep_watching())
        await asyncio.wait_for(assignments.loaded.wait(), 10)
        world = World(
            JetStreamInbox(nats, broker.shard),
            VictoriaMetricsStore(http, store_url),
            JetStreamQuarantine(nats, broker.shard),
            assignments,
        )
        running = asyncio.create_task(Writer(broker.shard, world, Limits(), health, hold_s).run(stopping))
        try:
            yield health
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)
            watching.cancel()


async def publish(broker: ShardBroker, household: HouseholdId, payloads: list[bytes]) -> None:
    async with broker.agent(household) as agent:
        subject = subjects.measurements(broker.shard, household)
        for first in range(0, len(payloads), 256):
            await asyncio.gather(*[agent.request(subject, one, timeout=10) for one in payloads[first : first + 256]])


async def all_acknowledged(broker: ShardBroker, within_s: float = 20) -> None:
    async def nothing_pending() -> bool:
        return await broker.pending() == 0

    await eventually(nothing_pending, within_s, "every message is stored and acknowledged")


async def test_every_reading_arrives_exactly_as_sent(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    async with writer_running(broker, victoria_metrics.url) as health:
        await publish(broker, household, minutes(500))
        await all_acknowledged(broker)
        assert health.troubles == {}
    stored = {series.labels["socket"]: series for series in victoria_metrics.export(power_selector(household))}
    assert stored["1"].values == [(i % 1000) / 10 for i in range(500)]
    assert stored["1"].at_ms == [A_MINUTE_MS + i * INTERVAL_MS for i in range(500)]
    assert stored["2"].values == [float(i % 77) for i in range(500)]
    assert len(stored["3"].values) == 400, "missing stays missing"
