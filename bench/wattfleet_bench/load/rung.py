"""One rung of the ladder: a bounded load of real agents against a shard, measured and compared sample by sample."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wattfleet_tenants.home_file import write_home_file
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.placement import send_phase
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics

from wattfleet_bench.load.comparison import Comparison, compare
from wattfleet_bench.load.fleet import Plan, Summary, drive
from wattfleet_bench.load.ramp import Ramp
from wattfleet_bench.load.tally import phases_peak_to_mean
from wattfleet_bench.results import Result, at_most

MOST_PEAK_TO_MEAN = 1.1
_STORED_WITHIN_S = 90.0
_LOOK_EVERY_S = 1.0
_MANY_HOMES = 10_000


class Shard(Protocol):
    """What is loaded: a broker that carries the households, with ingest and writer running, and its store."""

    broker: ShardBroker
    store: VictoriaMetrics


def real_agents(
    shard: Shard,
    households: Sequence[HouseholdId],
    folder: Path,
    interval_s: float = 10.0,
    duration_s: float = 60.0,
    show: Callable[[str], None] = lambda _line: None,
) -> list[Result]:
    """Loads `shard` with the real agents of `households`, which it carries, and compares the store with what they sent.

    folder: empty; outboxes and home files go there. Raises LoadFailed when the load breaks.
    """
    ramp_ms = round(min(duration_s / 6, 10.0) * 1000)
    plan = Plan(
        homes=write_homes(shard.broker, households, folder / "homes"),
        folder=folder,
        ramp=Ramp(0, ramp_ms, max(1, ramp_ms // 5)),
        interval_s=interval_s,
        duration_s=duration_s,
        drain_s=_STORED_WITHIN_S,
    )
    summary = asyncio.run(drive(plan, show, asyncio.Event()))
    comparison = compare_when_stored(folder, shard.store)
    conditions = (
        f"{len(households)} real agents in one process, a minute every {interval_s:g} s for {duration_s:g} s, "
        f"outboxes on disk"
    )
    return list(_results(summary, comparison, conditions))


def write_homes(broker: ShardBroker, households: Iterable[HouseholdId], folder: Path) -> list[Path]:
    """Writes a home file for each of `households`, with the phases that the platform assigns; returns the files."""
    taken: Counter[int | None] = Counter()
    paths = []
    for household in households:
        phase_ms = send_phase(taken)
        taken[phase_ms] += 1
        paths.append(folder / f"{household}.json")
        write_home_file(paths[-1], replace(broker.home_file(household), send_phase_ms=phase_ms))
    return paths


def assigned_phases_ms(homes: int) -> list[int]:
    """The phases that the platform gives to `homes` homes of a shard, one after the other."""
    taken: Counter[int | None] = Counter()
    phases = []
    for _ in range(homes):
        phases.append(send_phase(taken))
        taken[phases[-1]] += 1
    return phases


def compare_when_stored(folder: Path, store: VictoriaMetrics, within_s: float = _STORED_WITHIN_S) -> Comparison:
    """The comparison once all that was acknowledged is stored, or as it is after `within_s`."""
    give_up_at_s = time.monotonic() + within_s
    while (found := compare(folder, store)).missing and time.monotonic() < give_up_at_s:
        time.sleep(_LOOK_EVERY_S)
    return found


def _results(summary: Summary, comparison: Comparison, conditions: str) -> Iterable[Result]:
    latencies = summary.end.latencies
    for percent in (50, 95):
        latency_ms = (latencies.percentile_s(percent) or 0.0) * 1000
        yield Result(f"agents.ack.p{percent}", latency_ms, "ms", conditions=conditions)
    if summary.peak_to_mean is not None:
        yield at_most("agents.peak_to_mean", summary.peak_to_mean, "", MOST_PEAK_TO_MEAN, conditions)
    if phases := phases_peak_to_mean(assigned_phases_ms(_MANY_HOMES)):
        about = f"assigned phases of {_MANY_HOMES:,} homes, reckoned"
        yield at_most("agents.phases.peak_to_mean", phases, "", MOST_PEAK_TO_MEAN, about)
    if summary.cpu_share is not None:
        cpu_ms = summary.cpu_share * summary.interval_s * 1000
        yield Result("agents.cpu", cpu_ms, "ms/message", conditions=f"{conditions}; one agent, sensors included")
    if summary.memory_bytes is not None:
        yield Result("agents.memory", summary.memory_bytes / 1024, "KiB/agent", conditions=conditions)
    counted = f"{comparison.acknowledged:,} acknowledged samples compared; {conditions}"
    yield at_most("agents.waiting", summary.end.waiting, "messages", 0, conditions)
    yield at_most("agents.lost", comparison.missing, "samples", 0, counted)
    yield at_most("agents.doubled", comparison.doubled, "samples", 0, counted)
    yield at_most("agents.changed", comparison.changed + comparison.strange, "samples", 0, counted)
