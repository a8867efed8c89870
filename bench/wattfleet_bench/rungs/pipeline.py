"""The whole pipeline: publisher, EDGE account, ingest, JetStream with fsync, writer, store, all real processes.

A run is over when the last sample was handed to the store, which the store itself tells. Series are registered in the
warm-up, as homes are when they have sent once. Every run is verified: all samples counted, those of 50 homes compared
with what was sent; and at the end nothing may be pending, quarantined or lost.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from wattfleet_tenants.ledger import Totals
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.measure import Meter, Usage, disk_bytes
from wattfleet_bench.results import Result, at_least, at_most, middle, spread
from wattfleet_bench.rungs.broker import jetstream_cpu_s_per_million
from wattfleet_bench.shard_under_test import PublisherProcess, ShardUnderTest
from wattfleet_bench.verification import COMPARED_HOMES, NotAsSent, Sent, require, verify

CONNECTIONS = 4
WINDOW = 20_000
PACE_PER_S = 100_000 / 3
"""Two million homes, once a minute."""
MOST_BACKLOG_S = 2.0
MOST_WRITER_SHARE = 0.06

REFERENCE_JETSTREAM_CPU = 0.23
"""CPU-s per million readings that NATS took for one JetStream message per home, delivered too, on the machine where the
targets were set. Here it is only published, so that a slow machine is rather thought too fast."""

_HANDED_WITHIN_S = 600.0
_LOOK_EVERY_S = 0.25
_SETTLED_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """minutes: per repeat, all homes in each. least_per_s and most_cpu_s: the targets."""

    name: str
    homes: int
    warm_up_minutes: int
    minutes: int
    paced_minutes: int
    least_per_s: float
    most_cpu_s: float


SMALL = Size("60k", 2_000, 100, 250, 0, 50_000, 1.1)
LARGE = Size("600k", 20_000, 10, 20, 51, 33_333, 1.5)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took. seconds: from the first publish until the last sample was handed to the store."""

    sent: Sent
    seconds: float
    usage: dict[str, Usage]
    refused: dict[str, int]
    backlog: list[int] = field(default_factory=list)

    @property
    def messages_per_s(self) -> float:
        """Messages a second, end to end."""
        return self.sent.messages / self.seconds

    def cpu_s_per_million(self, process: str | None = None) -> float:
        """CPU seconds per million samples, of one process or of all."""
        chosen = [one for name, one in self.usage.items() if process in (None, name)]
        return sum(one.cpu_s for one in chosen) / self.sent.samples * 1e6


class Pipeline:
    """Sends minute after minute through a shard and verifies each run."""

    def __init__(self, shard: ShardUnderTest, publisher: PublisherProcess) -> None:
        self._shard = shard
        self._publisher = publisher
        self._next_minute = 0
        self.messages = 0

    def skip(self, minutes: int) -> None:
        """The next run begins after these minutes, which somebody else has sent."""
        self._next_minute += minutes

    def send(self, minutes: int, per_s: float | None = None) -> Run:
        """One run of the next `minutes`; see `Run`. Raises TimeoutError when the store does not get it all."""
        sent = Sent(self._shard.homes, self._next_minute, minutes)
        self._publisher.prepare(self._next_minute, minutes)
        self._next_minute += minutes
        self.messages += sent.messages
        before = self._shard.samples_handed()
        backlog: list[int] = []

        def look(at_s: float, acknowledged: int) -> None:
            handed = (self._shard.samples_handed() - before) // SOCKETS
            since = 0.0 if per_s is None else (time.monotonic() - at_s) * per_s
            backlog.append(min(round(acknowledged + since), sent.messages) - handed)

        def ignore(_at_s: float, _acknowledged: int) -> None:
            return

        with Meter({**self._shard.pids(), "publisher": self._publisher.pid}) as meter:
            told = self._publisher.send(per_s, look if per_s else ignore)
            wait_until(
                lambda: self._shard.samples_handed() - before >= sent.samples,
                _HANDED_WITHIN_S,
                "the last sample is handed to the store",
                _LOOK_EVERY_S,
            )
            seconds = time.monotonic() - told["began_s"]
        return Run(sent, seconds, dict(meter.usage), told["refused"], backlog)

    def verified(self, run: Run, compared_homes: int = COMPARED_HOMES) -> Run:
        """`run`, once the store is seen to hold exactly what was sent in it; raises NotAsSent."""
        require(verify(self._shard.store.url, run.sent, compared_homes, seed=run.sent.first_minute))
        return run

    def settled(self) -> Totals:
        """The ledger once nothing is pending; raises NotAsSent unless it says that every message is stored."""
        try:
            totals = wait_until(self._nothing_pending, _SETTLED_WITHIN_S, "nothing is pending any more")
        except TimeoutError as error:
            raise NotAsSent(f"the ledger says {self._shard.ledger()} of {self.messages} messages") from error
        if totals != Totals(self.messages, self.messages, 0, 0, 0):
            raise NotAsSent(f"the ledger says {totals} of {self.messages} messages")
        if refused := self._shard.quarantined():
            raise NotAsSent(f"{refused} messages lie in the quarantine")
        return totals

    def _nothing_pending(self) -> Totals | None:
        totals = self._shard.ledger()
        return totals if totals.pending == 0 and totals.sent >= self.messages else None


def run_small(bench: Bench) -> list[Result]:
    """60,000 series."""
    return run(bench, SMALL)


def run_large(bench: Bench) -> list[Result]:
    """600,000 series, and a paced run."""
    return run(bench, LARGE)


def run(bench: Bench, size: Size) -> list[Result]:
    """Warm-up, repeats, and a paced run where `size` has one; raises NotAsSent when something is not as it was sent."""
    homes = Homes(size.homes, day_in_the_past_ms())
    speeds = [jetstream_cpu_s_per_million(bench)]
    bench.progress.step("the shard starts")
    with bench.folder() as folder, ShardUnderTest(folder, homes) as shard:
        pipeline = Pipeline(shard, shard.publisher(CONNECTIONS, WINDOW))
        bench.progress.step("warm-up: series are registered")
        pipeline.verified(pipeline.send(bench.amount(size.warm_up_minutes, 3)))
        runs = []
        for repeat in range(1, bench.repeats + 1):
            bench.progress.step(f"repeat {repeat} of {bench.repeats}")
            runs.append(pipeline.verified(pipeline.send(bench.amount(size.minutes, 3))))
        paced = _paced(bench, size, pipeline, max(1.0, speeds[0] / REFERENCE_JETSTREAM_CPU))
        bench.progress.step("until everything is settled")
        totals = pipeline.settled()
        speeds.append(jetstream_cpu_s_per_million(bench))
        disk = {"store": disk_bytes(folder / "victoria-metrics"), "broker": disk_bytes(folder / "nats")}
    what = _conditions(homes)
    return [
        *_results(size, runs, what),
        *_on_the_reference_machine(size, runs, speeds),
        *paced,
        *[Result(f"pipeline.{size.name}.disk.{part}", taken / 1e6, "MB") for part, taken in disk.items()],
        Result(
            f"pipeline.{size.name}.lost",
            totals.sent - totals.stored,
            "messages",
            "= 0",
            True,
            f"{totals.sent:,} messages sent, all stored: every sample counted, {COMPARED_HOMES} homes a run compared",
        ),
    ]


def _conditions(homes: Homes) -> str:
    return (
        f"{homes.count:,} homes x {SOCKETS} sockets over {CONNECTIONS} connections, consecutive minutes of one day in "
        f"the past as fast as they go, fsync before each acknowledgement, one machine for everything"
    )


def _results(size: Size, runs: Sequence[Run], what: str) -> list[Result]:
    name = f"pipeline.{size.name}"
    rates = [run.messages_per_s for run in runs]
    cpu = [run.cpu_s_per_million() for run in runs]
    shares = [run.cpu_s_per_million("writer") / run.cpu_s_per_million() for run in runs]
    results = [
        at_least(f"{name}.rate", middle(rates), "msg/s", size.least_per_s, f"{spread(rates)}; {what}"),
        at_most(f"{name}.cpu", middle(cpu), "CPU-s/M samples", size.most_cpu_s, f"{spread(cpu)}; all processes"),
        at_most(f"{name}.cpu.writer_share", middle(shares), "of the CPU", MOST_WRITER_SHARE, spread(shares)),
    ]
    for process in runs[0].usage:
        each = [run.cpu_s_per_million(process) for run in runs]
        peak = max(run.usage[process].memory.peak for run in runs)
        results.append(Result(f"{name}.cpu.{process}", middle(each), "CPU-s/M samples", None, None, spread(each)))
        results.append(Result(f"{name}.memory.{process}", peak / 1e6, "MB", None, None, "peak"))
    return results


def _on_the_reference_machine(size: Size, runs: Sequence[Run], speeds: Sequence[float]) -> list[Result]:
    """The CPU figures as they would be where the targets were set; `speeds`: of this machine, before and after."""
    name = f"pipeline.{size.name}.cpu.reference"
    slower = sum(speeds) / len(speeds) / REFERENCE_JETSTREAM_CPU
    cpu = middle([run.cpu_s_per_million() for run in runs]) / slower
    writer = middle([run.cpu_s_per_million("writer") for run in runs]) / slower
    what = "reckoned: divided by what this machine needs for the same JetStream work"
    return [
        Result(f"{name}.slower", slower, "times", None, None, "this machine, right before and after the runs"),
        at_most(name, cpu, "CPU-s/M samples", size.most_cpu_s, what),
        at_most(f"{name}.writer", writer, "CPU-s/M samples", MOST_WRITER_SHARE * size.most_cpu_s, what),
    ]


def _paced(bench: Bench, size: Size, pipeline: Pipeline, slower: float) -> list[Result]:
    """A run at the pace of the targets and, on a slower machine, one at a pace so much slower; each verified."""
    results: list[Result] = []
    paces = {"paced": PACE_PER_S} | ({"paced.reference": PACE_PER_S / slower} if slower > 1 else {})
    for name, pace in paces.items() if size.paced_minutes else ():
        bench.progress.step(f"paced run: {pace:,.0f} messages/s")
        minutes = bench.amount(round(size.paced_minutes * pace / PACE_PER_S), 3)
        run = pipeline.verified(pipeline.send(minutes, pace))
        results += _paced_results(f"pipeline.{size.name}.{name}", run, pace)
    return results


def _paced_results(name: str, run: Run, pace: float) -> list[Result]:
    paced = f"paced at {pace:,.0f} for {run.seconds:.0f} s"
    what = f"worst of {len(run.backlog)} looks at what was acknowledged and not yet handed to the store; {paced}"
    return [
        Result(f"{name}.rate", run.messages_per_s, "msg/s", None, None, paced),
        at_most(f"{name}.backlog", max(run.backlog) / pace, "s of traffic", MOST_BACKLOG_S, what),
    ]
