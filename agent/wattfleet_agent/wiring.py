"""Puts the agent's parts together: `run` for a home that is measured, `replay` for one that was recorded."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.telemetry.health import Health, serve_health

from wattfleet_agent.history import History
from wattfleet_agent.link import Link, Serve, read_home
from wattfleet_agent.live import Commands, Live
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.outbox_file import lock
from wattfleet_agent.publisher import Publisher
from wattfleet_agent.recorded_house import RecordedHouse
from wattfleet_agent.recorder import Recorder
from wattfleet_agent.replay import Replay, Replayed
from wattfleet_agent.sampling import Sampler
from wattfleet_agent.sensors import Sample
from wattfleet_agent.simulated.home import SimulatedHome
from wattfleet_agent.watch import Watch

logger = logging.getLogger(__name__)

Job = Coroutine[Any, Any, None]


async def run(home_path: Path, outbox_path: Path, sensor: SimulatedHome, history_days: int = 0) -> None:
    """Measures, sends and answers until SIGTERM or SIGINT. Raises OSError or ValueError when it cannot begin."""
    household = read_home(home_path).household
    with lock(outbox_path):
        outbox = Outbox(outbox_path, household)
        try:
            logger.info("agent started", extra={"household": household, "sequence": outbox.next_sequence})
            await _until_signal(_jobs(home_path, outbox, sensor, history_days))
            logger.info("agent stopped", extra={"household": household})
        finally:
            outbox.close()


def _jobs(home_path: Path, outbox: Outbox, sensor: SimulatedHome, history_days: int) -> list[Job]:
    health = Health("broker", "outbox", "sensor")
    home = read_home(home_path)
    publisher = Publisher(outbox, home.household, home.send_phase_ms)
    recorder = Recorder(outbox, home.household, publisher.look)
    live, watch = Live(Commands()), Watch(outbox, health)

    def on_sample(at_ms: int, sample: Sample) -> None:
        watch.sampled()
        live.offer(at_ms, sample)

    link = Link(home_path, serving(live, publisher), publisher.refuse_all, health)
    sampler = Sampler(sensor, on_sample, recorder.record, recorder.clock_set_back)
    serve_health(health)
    history = [History(sensor, outbox, publisher.look).fill(history_days)] if history_days else []
    return [link.run(), sampler.run(), live.run(), watch.run(), health.keep_beating(), *history]


def serving(live: Live, publisher: Publisher) -> Serve:
    """What a measured home does on each connection: obeys live commands, sends at the time that its home file says."""

    async def serve(client: Client, home: HomeFile) -> None:
        await live.listen(client, home)
        publisher.phase_ms = home.send_phase_ms
        await publisher.serve(client, home.shard)

    return serve


async def replay(home_path: Path, outbox_path: Path, house: RecordedHouse) -> Replayed:
    """Sends a recorded house; returns when all of it is acknowledged, or on SIGTERM or SIGINT.

    Raises MalformedRecording before anything is sent, OSError or ValueError when it cannot begin.
    """
    household = read_home(home_path).household
    minutes = sum(1 for _ in house.minutes())
    with lock(outbox_path):
        outbox = Outbox(outbox_path, household)
        try:
            publisher = Publisher(outbox, household, phase_ms=0)

            async def serve(client: Client, home: HomeFile) -> None:
                await publisher.serve(client, home.shard)

            health = Health("broker")
            link = Link(home_path, serve, publisher.refuse_all, health)
            serve_health(health)
            job = Replay(house, minutes, outbox, publisher)
            await _until_signal([link.run(), health.keep_beating()], job.run())
            return job.outcome()
        finally:
            outbox.close()


class _StopAll(Exception):
    """Ends the group of tasks in which it is raised."""


async def _until_signal(jobs: list[Job], until: Job | None = None) -> None:
    """Does all `jobs` side by side until SIGTERM or SIGINT comes or `until` is done; a failing job ends all."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)

    async def stopper() -> None:
        await stop.wait()
        raise _StopAll

    async def last(job: Job) -> None:
        await job
        stop.set()

    try:
        async with asyncio.TaskGroup() as tasks:
            for job in jobs:
                tasks.create_task(job)
            if until:
                tasks.create_task(last(until))
            tasks.create_task(stopper())
    except* _StopAll:
        pass
