"""The two processes as the platform runs them: killed, asked to stop, started without what they need."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from wattfleet_tenants import grants
from wattfleet_tenants.adapters.reader_client import ReaderClient
from wattfleet_tenants.answers import Refused
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.series import power_selector
from wattfleet_tenants.testing.builders import message, minutes
from wattfleet_tenants.testing.data_plane import ReaderProcess, WriterProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import Program
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually


@contextmanager
def running(*programs: Program) -> Iterator[None]:
    try:
        for program in programs:
            program.start()
        yield
    finally:
        for program in programs:
            if program.running:
                program.kill()


async def publish(broker: ShardBroker, household: HouseholdId, payloads: list[bytes]) -> None:
    for first in range(0, len(payloads), 256):
        await broker.publish_bundle(*[(household, payload) for payload in payloads[first : first + 256]])


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


async def test_a_reading_travels_through_both_processes_and_can_be_followed_in_their_logs(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId, tmp_path: Path
) -> None:
    keys = grants.generate_signing_keys()
    (tmp_path / "grant.pem").write_text(keys.public_pem)
    writer = WriterProcess(tmp_path, broker, victoria_metrics.url)
    reader = ReaderProcess(tmp_path, broker, victoria_metrics.url, tmp_path / "grant.pem")
    await broker.assign(household)
    with running(writer, reader):
        await publish(broker, household, [message(41), message(42, power_w=(99_999.0,))])
        async with httpx.AsyncClient() as http:
            client = ReaderClient(http, lambda who: grants.sign(keys.private_pem, "reader", who, 30))

            async def refusals() -> list[Refused]:
                return await client.refused(reader.url, household)

            refused = await eventually(refusals, 10, "the implausible message is in quarantine")
            assert [(one.reason, one.count) for one in refused] == [("implausible-power", 1)]
            await eventually(
                lambda: victoria_metrics.count(power_selector(household)) == 2, 10, "the good one is stored"
            )
            metrics = (await http.get(f"{writer.health_url}/metrics")).text
        assert 'wattfleet_writer_quarantined_total{reason="implausible-power"} 1.0' in metrics
        assert household not in metrics, "no label carries a household"
        assert writer.stop() == 0
        assert reader.stop() == 0
    followed = [(line["message"], line["sequence"]) for line in lines(writer.log) if line.get("household") == household]
    assert sorted(followed) == [("handed to the store", 41), ("message refused", 42)]


async def test_a_killed_writer_loses_and_doubles_nothing(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId, tmp_path: Path
) -> None:
    await broker.assign(household)
    await broker.ensure(ack_wait_s=2.0)
    writer = WriterProcess(tmp_path, broker, victoria_metrics.url)
    with running(writer):
        sending = asyncio.create_task(publish(broker, household, minutes(3000)))
        await eventually(lambda: "handed to the store" in writer.log.read_text(), 10, "the writer is at work")
        writer.kill()
        await sending
        writer.start()
        await eventually(
            lambda: victoria_metrics.count(power_selector(household)) == 3000 * 2 + 2400, 30, "everything is stored"
        )


async def test_a_writer_says_what_it_lacks_and_works_when_it_is_there(
    broker: ShardBroker, own_victoria_metrics: VictoriaMetrics, household: HouseholdId, tmp_path: Path
) -> None:
    await broker.assign(household)
    own_victoria_metrics.stop()
    writer = WriterProcess(tmp_path, broker, own_victoria_metrics.url)
    writer._ready = lambda: "store" in troubles(writer)
    with running(writer):
        await publish(broker, household, minutes(10))
        own_victoria_metrics.start()
        await eventually(writer.ready, 15, "the writer is ready once its store is there")
        await eventually(
            lambda: own_victoria_metrics.count(power_selector(household)) == 28, 15, "what waited is stored"
        )


def troubles(writer: WriterProcess) -> dict[str, str]:
    try:
        found: dict[str, str] = httpx.get(f"{writer.health_url}/readyz", timeout=1).json()["troubles"]
    except httpx.HTTPError:
        return {}
    return found


@pytest.mark.parametrize("process", ["writer", "reader"])
def test_a_missing_setting_is_said_in_one_line(process: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"wattfleet_tenants.{process}"],
        check=False,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == "WATTFLEET_SHARD must be set"
