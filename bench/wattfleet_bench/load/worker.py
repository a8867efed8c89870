"""One process full of agents: `python -m wattfleet_bench.load.worker` reads its orders from standard input.

It tells how far it is in one line of JSON a second, and ends when its time is over and its outboxes are empty, on
SIGTERM or SIGINT, or with the process that started it. Its log goes to standard error.
"""

import asyncio
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prometheus_client import Counter
from pythonjsonlogger.json import JsonFormatter
from wattfleet_agent import metrics

from wattfleet_bench.load.agent import LoadAgent
from wattfleet_bench.load.clock import LoadClock
from wattfleet_bench.load.observed import Observations
from wattfleet_bench.load.report import Report
from wattfleet_bench.load.street import House, Street
from wattfleet_bench.measure import memory

_PR_SET_PDEATHSIG = 1
_REPORT_EVERY_S = 1.0
_LOOK_EVERY_S = 0.1
_CANCEL_EVERY_S = 1.0
FILES_AN_AGENT = 5
"""Its connection, its outbox with log and index, its lock."""
FILES_BESIDE = 200
WRONG_INPUT = 2


@dataclass(frozen=True, slots=True)
class Place:
    """One agent's: its home file, its number in the load, and how long after the load's begin it starts (s)."""

    home: str
    number: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker shall do. begin_s: Unix time. measure_s: how long after it, None for ever; drain_s: at most, then.

    parent: the process without which it does not go on.
    """

    folder: str
    places: list[Place]
    sockets: int
    clock: LoadClock
    begin_s: float
    measure_s: float | None
    drain_s: float
    parent: int

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Orders":
        """The orders in a text of JSON."""
        fields = json.loads(text)
        fields["places"] = [Place(**place) for place in fields["places"]]
        fields["clock"] = LoadClock(**fields["clock"])
        return cls(**fields)


class Worker:
    """Runs the agents of `orders`."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._street = Street(orders.sockets, orders.clock.now_s)
        self._street.read()
        self._observations = Observations()
        self._agents: list[LoadAgent] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._measuring = asyncio.Event()
        self._stop = asyncio.Event()
        # Opening an outbox waits for the disk: one at a time, so that those that are connecting get their turns.
        self._opening = asyncio.Lock()
        self._memory_before = memory(os.getpid()).rss

    async def run(self) -> None:
        """Returns when all is done or it was told to stop; raises what an agent raises."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop.set)
        self._measuring.set()
        for place in self._orders.places:
            self._begin(self._live(place))
        self._begin(self._tell())
        try:
            await self._until_over()
        finally:
            await self._cancel_all()
        _say(self._report(finished=True))
        for agent in self._agents:
            agent.close()

    def _begin(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A job that fails ends them all: without it the load is not what was asked for."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failure = self._failure or error
            self._stop.set()

    async def _cancel_all(self) -> None:
        """Again and again: under Python 3.11 a wait that is over at that moment swallows a cancellation."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=_CANCEL_EVERY_S)
        if self._failure:
            raise self._failure

    async def _live(self, place: Place) -> None:
        await asyncio.sleep(self._orders.begin_s + place.delay_s - time.time())
        house = House(self._street, place.number)
        orders = self._orders
        async with self._opening:
            agent = LoadAgent(Path(place.home), Path(orders.folder), house, orders.clock, self._observations)
        self._agents.append(agent)
        for job in agent.jobs(self._measuring):
            self._begin(job)

    async def _tell(self) -> None:
        while True:
            _say(self._report())
            await asyncio.sleep(_REPORT_EVERY_S)

    async def _until_over(self) -> None:
        measure_s = self._orders.measure_s
        until_s = None if measure_s is None else self._orders.begin_s + measure_s - time.time()
        if not await self._stopped_within(until_s):
            self._measuring.clear()
            drained_by_s = time.time() + self._orders.drain_s
            while self._waiting() and time.time() < drained_by_s and not await self._stopped_within(_LOOK_EVERY_S):
                pass

    async def _stopped_within(self, seconds: float | None) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _waiting(self) -> int:
        """By what was counted, which costs nothing; the last report looks into the outboxes."""
        at_start = sum(agent.waiting_at_start for agent in self._agents)
        return at_start + _count(metrics.RECORDED) - _count(metrics.ACKNOWLEDGED) - _count(metrics.WITHDRAWN)

    def _report(self, finished: bool = False) -> Report:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Report(
            at_s=time.time(),
            agents=len(self._orders.places),
            started=len(self._agents),
            connected=self._observations.connected,
            recorded=_count(metrics.RECORDED),
            not_recorded=_count(metrics.NOT_RECORDED),
            sent=_count(metrics.PUBLISHED),
            acknowledged=_count(metrics.ACKNOWLEDGED),
            refused=_by_reason(metrics.REFUSED),
            waiting=sum(agent.state().waiting for agent in self._agents) if finished else self._waiting(),
            latency_buckets=dict(self._observations.latencies.buckets),
            sent_by_second=dict(self._observations.sent_by_second) if finished else {},
            cpu_s=used.ru_utime + used.ru_stime,
            memory_bytes=memory(os.getpid()).rss,
            memory_before_bytes=self._memory_before,
            finished=finished,
        )


def _count(counter: Counter) -> int:
    return sum(_by_reason(counter).values())


def _by_reason(counter: Counter) -> dict[str, int]:
    """The counts of `counter` by its label `reason`, "" without one."""
    samples = (sample for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total"))
    return {sample.labels.get("reason", ""): int(sample.value) for sample in samples}


def _say(report: Report) -> None:
    print(report.as_line(), flush=True)


def _die_with(parent: int) -> None:
    """Linux ends this process when its parent dies, even of SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _allow_files(agents: int) -> None:
    needed = agents * FILES_AN_AGENT + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ValueError(
            f"{agents} agents need {needed} open files and a process may have {hard}: use more --processes"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main() -> int:
    """Obeys the orders on standard input; returns the exit code."""
    orders = Orders.from_text(sys.stdin.readline())
    _die_with(orders.parent)
    level = os.environ.get("WATTFLEET_LOG_LEVEL", "WARNING").upper()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("{levelname}{name}{message}", style="{", timestamp="time"))
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in ("nats", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    try:
        _allow_files(len(orders.places))
        asyncio.run(Worker(orders).run())
    except (OSError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return WRONG_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
