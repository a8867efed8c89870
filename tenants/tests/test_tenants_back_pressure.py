"""A store that takes nothing, or hangs: nothing is acknowledged, it is said, and everything is stored afterwards."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.series import power_selector
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import A_MINUTE_MS, message, minutes
from wattfleet_tenants.testing.data_plane import IngestProcess, WriterProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually

FULL = "-storage.minFreeDiskSpaceBytes=1000000000000000"
"""As if the disk was full: the store turns read-only."""


@pytest.fixture
def writer(tmp_path: Path, broker: ShardBroker, own_victoria_metrics: VictoriaMetrics) -> Iterator[WriterProcess]:
    process = WriterProcess(tmp_path, broker, own_victoria_metrics.url)
    process.start()
    try:
        yield process
    finally:
        process.kill()


def trouble(writer: WriterProcess) -> str:
    return httpx.get(f"{writer.health_url}/readyz").text


async def drained(broker: ShardBroker) -> bool:
    return await broker.pending() == 0


async def test_a_full_store_loses_nothing_and_says_so(
    broker: ShardBroker, own_victoria_metrics: VictoriaMetrics, writer: WriterProcess, household: HouseholdId
) -> None:
    await broker.assign(household)
    own_victoria_metrics.stop()
    own_victoria_metrics.argv.append(FULL)
    own_victoria_metrics.start()
    await broker.publish_bundle(*[(household, one) for one in minutes(200)])
    await eventually(lambda: "the store answers" in trouble(writer), 30, "the writer says that its store takes nothing")
    assert await broker.pending() == 1
    own_victoria_metrics.stop()
    own_victoria_metrics.argv.remove(FULL)
    own_victoria_metrics.start()
    await eventually(lambda: drained(broker), 90, "all is stored and acknowledged")
    assert own_victoria_metrics.count(power_selector(household)) == 200 * 2 + 160


async def test_a_store_that_hangs_holds_up_no_agent_and_gets_live_readings_first(
    broker: ShardBroker,
    own_victoria_metrics: VictoriaMetrics,
    ingest: IngestProcess,
    writer: WriterProcess,
    household: HouseholdId,
) -> None:
    neighbour = mint_household_id()
    await broker.assign(household, neighbour)
    os.kill(own_victoria_metrics.pid, signal.SIGSTOP)
    try:
        for first in range(0, 20_000, 2_000):
            backlog = [(household, one) for one in minutes(20_000)[first : first + 2_000]]
            await broker.publish_bundle(*backlog, lane=Lane.BACKLOG)
        async with broker.agent(neighbour) as agent:
            async with asyncio.timeout(10):
                await agent.request(subjects.measurements(broker.shard, neighbour), message(1), timeout=10)
    finally:
        os.kill(own_victoria_metrics.pid, signal.SIGCONT)
    await eventually(
        lambda: own_victoria_metrics.count(power_selector(neighbour)) == 2, 60, "the live reading is there"
    )
    await eventually(lambda: drained(broker), 120, "all is stored and acknowledged")
    assert own_victoria_metrics.count(power_selector(household)) == 20_000 * 2 + 16_000
    (first_socket, _) = own_victoria_metrics.export(power_selector(neighbour))
    assert first_socket.at_ms == [A_MINUTE_MS]
