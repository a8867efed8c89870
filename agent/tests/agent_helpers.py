"""What the agent's tests share: minutes, recorded houses, and the agent as a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wattfleet_agent.sensors import Minute
from wattfleet_tenants import grants, subjects
from wattfleet_tenants.home_file import write_home_file
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.wire import bundle, codec

A_MINUTE_MS = 1_790_000_040_000
KEYS = grants.generate_signing_keys()


def minute(index: int, *power_w: float | None) -> Minute:
    """The minute `index` minutes after a fixed one of September 2026."""
    return Minute(A_MINUTE_MS + index * INTERVAL_MS, power_w or (float(index % 1000),))


def recording(path: Path, rows: int) -> Path:
    """A recorded house of `rows` minutes; socket 1 draws 60 W times the row's number modulo 100."""
    begin = datetime(2026, 2, 1, tzinfo=UTC)
    lines = ["Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;S1;S2;S3"]
    for row in range(rows):
        at = begin + timedelta(minutes=row)
        lines.append(f"{at:%d/%m/%Y;%H:%M:%S};8.000;0.1;230;5;{row % 100}.000;1.000;?")
    path.write_text("\n".join(lines) + "\n")
    return path


def home_file(broker: ShardBroker, household: HouseholdId, folder: Path) -> Path:
    """The home file of `household`, as the operator writes it."""
    path = folder / "home.json"
    write_home_file(path, broker.home_file(household, KEYS.public_pem))
    return path


@dataclass
class Agent:
    """A running agent."""

    process: asyncio.subprocess.Process
    log: Path

    def lines(self, message: str) -> list[dict[str, object]]:
        """Its log lines with that message."""
        texts = self.log.read_text().splitlines()
        return [line for text in texts if text.startswith("{") and (line := json.loads(text))["message"] == message]

    async def ends(self, within_s: float) -> int:
        """Its exit code."""
        return await asyncio.wait_for(self.process.wait(), within_s)


@asynccontextmanager
async def agent(folder: Path, *arguments: object, **env: str) -> AsyncIterator[Agent]:
    """`python -m wattfleet_agent` with these arguments; killed at the end if it still runs."""
    log = folder / "agent.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "wattfleet_agent",
            *map(str, arguments),
            stdout=output,
            stderr=output,
            env={**os.environ, **env},
        )
    try:
        yield Agent(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def take(broker: ShardBroker, most: int = 100_000) -> list[HomeReadings]:
    """Takes bundles out of the streams, the live ones first, as the writer does when it has stored them.

    Stops when it has `most` messages or more.
    """
    taken: list[HomeReadings] = []
    async with broker.operator() as client:
        js = client.jetstream()
        for lane in subjects.Lane:
            stream = subjects.bundle_stream(broker.shard, lane)
            consumer = await js.pull_subscribe_bind(subjects.WRITER_CONSUMER, stream)
            for _ in range((await js.stream_info(stream)).state.messages):
                if len(taken) >= most:
                    break
                (delivered,) = await consumer.fetch(1, timeout=5)
                taken += [codec.decode(message) for _, message in bundle.decode(delivered.data).each()]
                await delivered.ack_sync()
    return taken


async def lanes(broker: ShardBroker) -> dict[subjects.Lane, list[HomeReadings]]:
    """What is in each lane's stream, which stays there."""
    found: dict[subjects.Lane, list[HomeReadings]] = {}
    async with broker.operator() as client:
        js = client.jetstream()
        for lane in subjects.Lane:
            stream = subjects.bundle_stream(broker.shard, lane)
            state = (await js.stream_info(stream)).state
            positions = range(state.first_seq, state.last_seq + 1) if state.messages else ()
            payloads = [(await js.get_msg(stream, position)).data or b"" for position in positions]
            found[lane] = [codec.decode(m) for payload in payloads for _, m in bundle.decode(payload).each()]
    return found
