"""Ours and both designs of the baseline, measured in turns, and how many times as fast ours is.

A round is one run of each, every one on fresh servers with nothing else running; ratios are taken within a round, so
that a machine that becomes slower between rounds changes both sides alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattfleet_bench.baseline.design import BEST, PUBLISHED, WARM_UP_MINUTES, Design
from wattfleet_bench.baseline.design import Run as DesignRun
from wattfleet_bench.baseline.design import run as run_design
from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.results import Result, at_least, middle, spread
from wattfleet_bench.rungs.pipeline import CONNECTIONS, WINDOW, Pipeline
from wattfleet_bench.rungs.pipeline import Run as OurRun
from wattfleet_bench.shard_under_test import ShardUnderTest

LEAST_RATIO = 10
HOMES = 2_000

_MINUTES = {PUBLISHED.name: 20, BEST.name: 40}
_OUR_WARM_UP_MINUTES, _OUR_MINUTES = 50, 150


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took. cpu_s_per_million: CPU seconds per million samples, by process."""

    messages_per_s: float
    cpu_s_per_million: dict[str, float]

    @property
    def cpu(self) -> float:
        """CPU seconds per million samples, of all processes."""
        return sum(self.cpu_s_per_million.values())


@dataclass(frozen=True, slots=True)
class Stored:
    """What a design's store held in the end, in readings. differing: of those of some homes, looked at one by one."""

    acknowledged: int
    stored: int
    differing: int


@dataclass(frozen=True, slots=True)
class Round:
    """One run of each: the cost of ours, and of each design with what became of its readings."""

    ours: Cost
    designs: dict[str, tuple[Cost, Stored]]


def measure(bench: Bench, programs: Path) -> list[Round]:
    """As many rounds as `bench` wants. programs: what `setup/baseline.py` unpacked."""
    homes = Homes(HOMES, day_in_the_past_ms())
    rounds = []
    for number in range(1, bench.repeats + 1):
        bench.progress.rung(f"round {number}")
        bench.progress.step("ours")
        ours = _ours(bench, homes)
        designs = {}
        for design in (PUBLISHED, BEST):
            bench.progress.step(f"RabbitMQ and InfluxDB, {design.name}")
            found = run_design(design, programs, homes, bench.amount(_MINUTES[design.name], 2))
            designs[design.name] = (_cost_of_design(found), _stored(found))
        rounds.append(Round(ours, designs))
    return rounds


def results(rounds: Sequence[Round]) -> list[Result]:
    """Rates, CPU and losses of all, and the ratios of ours to each design."""
    homes = f"{HOMES:,} homes x {SOCKETS} sockets"
    ours = f"{homes}, fsync before each acknowledgement, one machine for everything"
    found = _costs("ours", [one.ours for one in rounds], ours)
    for design in (PUBLISHED, BEST):
        each = [one.designs[design.name] for one in rounds]
        found += _costs(f"baseline.{design.name}", [cost for cost, _ in each], f"{homes}, {_habits(design)}")
        found += _losses(f"baseline.{design.name}", [stored for _, stored in each])
    return found + _ratios(rounds)


def in_words(found: Sequence[Result]) -> str:
    """The closing line."""
    by_name = {one.name: one.value for one in found}
    return (
        f"ours / published design: {by_name['ratio.published.rate']:.1f} times the messages, "
        f"1/{by_name['ratio.published.cpu']:.1f} of the CPU; "
        f"ours / best of RabbitMQ and InfluxDB: {by_name['ratio.best.rate']:.1f} times the messages, "
        f"1/{by_name['ratio.best.cpu']:.1f} of the CPU"
    )


def _ours(bench: Bench, homes: Homes) -> Cost:
    with bench.folder() as folder, ShardUnderTest(folder, homes) as shard:
        pipeline = Pipeline(shard, shard.publisher(CONNECTIONS, WINDOW))
        pipeline.verified(pipeline.send(bench.amount(_OUR_WARM_UP_MINUTES, 3)))
        run: OurRun = pipeline.verified(pipeline.send(bench.amount(_OUR_MINUTES, 3)))
        pipeline.settled()
    return Cost(run.messages_per_s, {process: run.cpu_s_per_million(process) for process in run.usage})


def _cost_of_design(run: DesignRun) -> Cost:
    return Cost(run.rate, {process: run.cpu_s_per_million(process) for process in run.cpu_s})


def _stored(run: DesignRun) -> Stored:
    return Stored(run.acknowledged * SOCKETS, run.stored, run.differing)


def _costs(name: str, costs: Sequence[Cost], what: str) -> list[Result]:
    rates = [cost.messages_per_s for cost in costs]
    all_cpu = [cost.cpu for cost in costs]
    return [
        Result(f"{name}.rate", middle(rates), "msg/s", conditions=f"{spread(rates)}; {what}"),
        Result(f"{name}.cpu", middle(all_cpu), "CPU-s/M samples", conditions=f"{spread(all_cpu)}; all processes"),
        *[
            Result(f"{name}.cpu.{process}", middle(each), "CPU-s/M samples", conditions=spread(each))
            for process in costs[0].cpu_s_per_million
            for each in [[cost.cpu_s_per_million[process] for cost in costs]]
        ],
    ]


def _losses(name: str, each: Sequence[Stored]) -> list[Result]:
    acknowledged, stored = sum(one.acknowledged for one in each), sum(one.stored for one in each)
    counted = f"{acknowledged:,} readings acknowledged and {stored:,} stored, all runs together"
    compared = "readings of a sample of homes that are not stored as they were sent"
    return [
        Result(f"{name}.missing", acknowledged - stored, "readings", conditions=counted),
        Result(f"{name}.differing", sum(one.differing for one in each), "readings", conditions=compared),
    ]


def _habits(design: Design) -> str:
    how = "each message acknowledged" if design.habits.acknowledges_each else "one acknowledgement per batch"
    return (
        f"durable queue, persistent messages, confirms, {design.consumers} consumer(s) with a prefetch of "
        f"{design.habits.prefetch:,} and batches of {design.habits.batch:,} messages, {how} after the store's answer; "
        f"{WARM_UP_MINUTES} minutes of warm-up"
    )


def _ratios(rounds: Sequence[Round]) -> list[Result]:
    def of(design: Design, ratio: Callable[[Cost, Cost], float]) -> list[float]:
        return [ratio(one.ours, one.designs[design.name][0]) for one in rounds]

    def faster(ours: Cost, theirs: Cost) -> float:
        return ours.messages_per_s / theirs.messages_per_s

    def cheaper(ours: Cost, theirs: Cost) -> float:
        return theirs.cpu / ours.cpu

    published, best = of(PUBLISHED, faster), of(BEST, faster)
    saved = {design.name: of(design, cheaper) for design in (PUBLISHED, BEST)}
    return [
        at_least("ratio.published.rate", middle(published), "times", LEAST_RATIO, f"{spread(published)}; messages/s"),
        Result("ratio.best.rate", middle(best), "times", conditions=f"{spread(best)}; messages/s"),
        *[
            Result(f"ratio.{name}.cpu", middle(each), "times", conditions=f"{spread(each)}; theirs / ours")
            for name, each in saved.items()
        ],
    ]
