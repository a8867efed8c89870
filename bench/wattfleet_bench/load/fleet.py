"""A whole load: its plan, the processes that carry it out, what they report while they do, and the sum at the end."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattfleet_tenants.reading import INTERVAL_S

from wattfleet_bench.load.clock import begin_or_continue
from wattfleet_bench.load.ramp import Ramp
from wattfleet_bench.load.report import Report, latency_text, progress_line, total
from wattfleet_bench.load.tally import peak_to_mean
from wattfleet_bench.load.worker import WRONG_INPUT, Orders, Place

_BEGIN_AFTER_S = 1.5
"""Time for a worker's Python to start."""
_SHOW_EVERY_S = 5.0
_END_WITHIN_S = 60.0
_LONGEST_LINE_BYTES = 64 * 2**20


class LoadFailed(Exception):
    """A process of the load ended with an error; the text is what it said last, and where its log is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A load. homes: one home file for each agent. folder: where outboxes, logs and the clock are kept.

    interval_s: how long a minute takes. duration_s: how long agents measure, from the begin; None: until told to stop.
    drain_s: how long to wait after that until all outboxes are empty.
    """

    homes: Sequence[Path]
    folder: Path
    ramp: Ramp
    sockets: int = 30
    interval_s: float = INTERVAL_S
    duration_s: float | None = None
    drain_s: float = 0.0
    processes: int = 1
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Summary:
    """A load that is over. `end`: the sum of all reports; what is None was not measured long enough.

    The steady time begins when every agent has started and measured whole minutes (two intervals after the longest
    delay) and ends with the measuring. Within it: rate: messages sent a second. peak_to_mean: of the messages sent in
    each second, over whole intervals. cpu_share: of one core, by one agent. agents_per_core: how many of them take it
    all. memory_bytes: of one agent, beyond what the process takes without any.
    """

    end: Report
    interval_s: float
    steady_s: float
    rate: float | None
    peak_to_mean: float | None
    cpu_share: float | None
    memory_bytes: float | None

    @property
    def agents_per_core(self) -> float | None:
        """How many agents of this interval take one core whole."""
        return 1 / self.cpu_share if self.cpu_share else None

    def as_json(self) -> dict[str, Any]:
        """Numbers only; latencies in ms."""
        latencies = self.end.latencies
        return {
            "agents": self.end.agents,
            "interval_s": self.interval_s,
            "recorded": self.end.recorded,
            "not_recorded": self.end.not_recorded,
            "sent": self.end.sent,
            "acknowledged": self.end.acknowledged,
            "refused": dict(self.end.refused),
            "waiting": self.end.waiting,
            "ack_ms": {f"p{percent}": _ms(latencies.percentile_s(percent)) for percent in (50, 95, 99)},
            "steady_s": self.steady_s,
            "messages_per_s": self.rate,
            "peak_to_mean": self.peak_to_mean,
            "cpu_s": self.end.cpu_s,
            "cpu_share_per_agent": self.cpu_share,
            "agents_per_core": self.agents_per_core,
            "memory_bytes_per_agent": self.memory_bytes,
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        end = self.end
        return "\n".join(
            [
                f"agents        {end.started:,} of {end.agents:,} started, a minute every {self.interval_s:g} s",
                f"messages      recorded {end.recorded:,}, sent {end.sent:,}, acknowledged {end.acknowledged:,}, "
                f"refused {end.refusals:,} {dict(end.refused) or ''}".rstrip(),
                f"waiting       {end.waiting:,} in the outboxes; {end.not_recorded:,} minutes found no room",
                f"ack latency   {latency_text(end.latencies)}",
                f"steady        {self.steady_s:.0f} s, {_shown(self.rate, ',.1f')} msg/s, "
                f"peak/mean per second {_shown(self.peak_to_mean, '.2f')}",
                f"one agent     {_shown(self.cpu_share and self.cpu_share * 1000, '.3f')} ms of CPU a second, "
                f"{_shown(self.memory_bytes and self.memory_bytes / 1024, ',.0f')} KiB: "
                f"{_shown(self.agents_per_core, ',.0f')} agents take one core",
            ]
        )


async def drive(plan: Plan, show: Callable[[str], None], stop: asyncio.Event) -> Summary:
    """Carries out `plan` until its end or until `stop` is set; `show` gets a line of progress every five seconds.

    Raises ValueError or OSError when it cannot begin, LoadFailed when one of its processes fails.
    """
    load = _Load(plan)
    try:
        await load.start()
        async with asyncio.TaskGroup() as tasks:
            hearing = [tasks.create_task(load.hear(number)) for number in range(plan.processes)]
            helpers = [tasks.create_task(load.show(show)), tasks.create_task(load.stop_when(stop))]
            await asyncio.wait(hearing)
            for helper in helpers:
                helper.cancel()
        await load.check()
    finally:
        await load.end()
    return load.summary()


class _Load:
    """The processes of a plan, and what they said last."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._clock = begin_or_continue(plan.folder, plan.interval_s)
        self._begin_s = time.time() + _BEGIN_AFTER_S
        self._processes: list[Process] = []
        self._reports = [Report() for _ in range(plan.processes)]
        self._steady = _Steady(plan, self._begin_s)

    async def start(self) -> None:
        """Starts all processes, each with every so-manieth agent, so that all of them ramp up alike."""
        delays_ms = self._plan.ramp.delays_ms(len(self._plan.homes), self._plan.seed)
        places = [
            Place(str(home.absolute()), number, delay_ms / 1000)
            for number, (home, delay_ms) in enumerate(zip(self._plan.homes, delays_ms, strict=True))
        ]
        for number in range(self._plan.processes):
            process = await self._spawn(number)
            self._processes.append(process)
            await _tell(process, self._orders(places[number :: self._plan.processes]))

    def _orders(self, places: list[Place]) -> str:
        plan = self._plan
        return Orders(
            folder=str(plan.folder.absolute()),
            places=places,
            sockets=plan.sockets,
            clock=self._clock,
            begin_s=self._begin_s,
            measure_s=plan.duration_s,
            drain_s=plan.drain_s,
            parent=os.getpid(),
        ).as_text()

    async def _spawn(self, number: int) -> Process:
        with self._log(number).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "wattfleet_bench.load.worker",
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                limit=_LONGEST_LINE_BYTES,
            )

    def _log(self, number: int) -> Path:
        return self._plan.folder / f"worker-{number}.log"

    async def hear(self, number: int) -> None:
        """Takes the reports of a process until it says no more."""
        async for line in _lines(self._processes[number]):
            self._reports[number] = Report.from_line(line)
            self._steady.note(total(self._reports))
        if await self._processes[number].wait():
            self._signal(signal.SIGTERM)  # without it the load is not what was asked for

    async def show(self, show: Callable[[str], None]) -> None:
        """Shows progress, until cancelled."""
        before = Report(at_s=self._begin_s)
        while True:
            await asyncio.sleep(_SHOW_EVERY_S)
            now = total(self._reports)
            show(progress_line(now, before, time.time() - self._begin_s))
            before = now

    async def stop_when(self, stop: asyncio.Event) -> None:
        """Asks all processes to end once `stop` is set."""
        await stop.wait()
        self._steady.over()
        self._signal(signal.SIGTERM)

    async def check(self) -> None:
        """Waits for all; raises LoadFailed when one failed, ValueError when what it was given is wrong."""
        for number, process in enumerate(self._processes):
            if code := await asyncio.wait_for(process.wait(), _END_WITHIN_S):
                lines = self._log(number).read_text(errors="replace").splitlines()
                words = [line for line in lines if "Error: " in line and not line.startswith("{")]
                told = words[-1].strip(" |") if words else f"exit code {code}"
                wrong = ValueError if code == WRONG_INPUT else LoadFailed
                raise wrong(f"a process of the load failed: {told} (log: {self._log(number)})")

    async def end(self) -> None:
        """Leaves no process behind, whatever happened."""
        self._signal(signal.SIGKILL)
        for process in self._processes:
            await process.wait()

    def _signal(self, which: signal.Signals) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.send_signal(which)

    def summary(self) -> Summary:
        """The sum, once all have ended."""
        return self._steady.summary(total(self._reports))


class _Steady:
    """Keeps the first and the last report of the steady time."""

    def __init__(self, plan: Plan, begin_s: float) -> None:
        self._interval_s = plan.interval_s
        self._begin_s = begin_s + plan.ramp.max_delay_ms / 1000 + 2 * plan.interval_s
        self._end_s = float("inf") if plan.duration_s is None else begin_s + plan.duration_s
        self._first: Report | None = None
        self._last: Report | None = None

    def note(self, now: Report) -> None:
        """A new report of all processes."""
        if not self._begin_s <= now.at_s <= self._end_s or now.finished:
            return
        self._last = now
        self._first = self._first or now

    def over(self) -> None:
        """The measuring ends now."""
        self._end_s = min(self._end_s, time.time())

    def summary(self, end: Report) -> Summary:
        """What the reports between say, with `end` as the last one."""
        first, last = self._first or Report(), self._last or Report()
        steady_s = last.at_s - first.at_s
        measured = steady_s > 0 and end.agents > 0
        return Summary(
            end=end,
            interval_s=self._interval_s,
            steady_s=steady_s,
            rate=(last.sent - first.sent) / steady_s if measured else None,
            peak_to_mean=self._peak_to_mean(end, last.at_s) if measured else None,
            cpu_share=(last.cpu_s - first.cpu_s) / steady_s / end.agents if measured else None,
            memory_bytes=(last.memory_bytes - last.memory_before_bytes) / end.agents if measured else None,
        )

    def _peak_to_mean(self, end: Report, last_s: float) -> float | None:
        begin_s = int(self._begin_s) + 1
        intervals = int((last_s - begin_s) // self._interval_s)
        return peak_to_mean(end.sent_by_second, begin_s, begin_s + round(intervals * self._interval_s))


async def _tell(process: Process, line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()


async def _lines(process: Process) -> AsyncIterator[bytes]:
    while process.stdout is not None and (line := await process.stdout.readline()):
        yield line


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
