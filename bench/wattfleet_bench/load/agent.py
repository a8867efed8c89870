"""One real agent beside many others in a process: the same outbox, publisher, link, recorder and sampler as at home.

What differs is the beat. A home reads its sensors 60 times a minute; simulated ones would take most of the CPU for
nothing that the platform could notice, so these are read once, through the same means. The beat stands at the home's
send phase: with it the last minute has ended, is recorded and is due. A home's own disk writes at the end of the
minute; all writing then to one shared disk would be late (500 homes that recorded in the first quarter of a minute of
10 s: peak/mean 2.0, p95 of the acknowledgements 670 ms). Health server, a home's own metrics and live commands are
left out.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TextIO

from nats.aio.client import Client
from wattfleet_agent.link import Link, read_home
from wattfleet_agent.outbox import Outbox, State
from wattfleet_agent.outbox_file import lock
from wattfleet_agent.publisher import Publisher
from wattfleet_agent.recorder import Recorder
from wattfleet_agent.sampling import Sampler
from wattfleet_agent.sensors import Sample, Sensor
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.telemetry.health import Health

from wattfleet_bench.load.clock import LoadClock
from wattfleet_bench.load.observed import Observations, ObservedClient

_LATE_MS = 5
"""A beat comes this much after its moment, so that the clock has surely passed it and the minute is due."""


def outbox_path(folder: Path, household: HouseholdId) -> Path:
    """Where the load in `folder` keeps the outbox of `household`."""
    return folder / "outboxes" / f"{household}.db"


class LoadAgent:
    """The agent of the home at `home_path`; opens its outbox below `folder`.

    Raises OSError or ValueError when the home file or the outbox cannot be used.
    """

    def __init__(
        self, home_path: Path, folder: Path, sensor: Sensor, clock: LoadClock, observations: Observations
    ) -> None:
        home = read_home(home_path)
        self._clock = clock
        self._phase_ms = home.send_phase_ms
        self._observations = observations
        self._first_sent_s: dict[str, float] = {}
        path = outbox_path(folder, home.household)
        self._lock: TextIO = lock(path)
        self._outbox = Outbox(path, home.household)
        self._publisher = Publisher(self._outbox, home.household, self._phase_ms, clock.now_s)
        recorder = Recorder(self._outbox, home.household, self._publisher.look)
        self._link = Link(home_path, self._serve, self._publisher.refuse_all, Health("broker"))
        self._sampler = Sampler(
            sensor,
            _ignore,
            recorder.record,
            recorder.clock_set_back,
            clock.now_s,
            least_samples=1,
        )
        self.waiting_at_start = self.state().waiting

    def jobs(self, measuring: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """What it does side by side until cancelled: it sends, and measures while `measuring` is set."""
        return [self._link.run(), self._measure(measuring)]

    def state(self) -> State:
        """What is in its outbox."""
        return self._outbox.state()

    def close(self) -> None:
        """Closes the outbox, once its jobs have ended."""
        self._outbox.close()
        self._lock.close()

    async def _serve(self, client: Client, home: HomeFile) -> None:
        self._observations.connected += 1
        self._publisher.phase_ms = self._phase_ms = home.send_phase_ms
        try:
            observed = ObservedClient(client, self._observations, self._first_sent_s)
            await self._publisher.serve(observed.as_client(), home.shard)
        finally:
            self._observations.connected -= 1

    async def _measure(self, measuring: asyncio.Event) -> None:
        while True:
            beat_ms = next_beat_ms(self._clock.now_s(), self._phase_ms)
            await self._clock.sleep_until(beat_ms)
            if measuring.is_set():
                self._sampler.sample()
            else:
                self._publisher.look()


def next_beat_ms(now_s: float, phase_ms: int) -> int:
    """The moment (Unix ms) of the next beat after `now_s` (Unix s) of a home that sends at `phase_ms`."""
    offset_ms = phase_ms + _LATE_MS
    return (int(now_s * 1000) - offset_ms) // INTERVAL_MS * INTERVAL_MS + INTERVAL_MS + offset_ms


def _ignore(_at_ms: int, _sample: Sample) -> None:
    """Nobody watches these homes live."""
