"""The store alone: bodies as the writer renders them, two at a time as the writer sends them."""

import asyncio
import time
from collections.abc import Sequence
from itertools import islice

import httpx
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.measure import Meter, disk_bytes
from wattfleet_bench.results import Result, middle, spread
from wattfleet_bench.shard_under_test import running, store
from wattfleet_bench.transcoding import Transcoder, batches

_AT_ONCE = 2
_BODIES_IN_MEMORY = 8
"""About 120 MB."""
_SIZES = {"60k": (2_000, 120), "600k": (20_000, 12)}


def run(bench: Bench) -> list[Result]:
    """Samples a second and CPU, with 60,000 and with 600,000 series that are registered already."""
    return [result for name, (homes, minutes) in _SIZES.items() for result in _run(bench, name, homes, minutes)]


def _run(bench: Bench, name: str, count: int, full_minutes: int) -> list[Result]:
    homes, minutes = Homes(count, day_in_the_past_ms()), bench.amount(full_minutes, 3)
    rates, cpu = [], []
    with bench.folder() as folder:
        program = store(folder)
        with running(program):
            for repeat in range(bench.repeats + 1):
                bench.progress.step(f"{name} series: {f'repeat {repeat} of {bench.repeats}' if repeat else 'warm-up'}")
                with Meter({"store": program.pid}) as meter:
                    seconds = asyncio.run(_insert(program, homes, repeat * minutes, minutes))
                samples = count * minutes * SOCKETS
                if repeat:
                    rates.append(samples / seconds)
                    cpu.append(meter.usage["store"].cpu_s / samples * 1e6)
            memory = meter.usage["store"].memory.peak
            disk = disk_bytes(folder / "store") / (samples * (bench.repeats + 1))
    return [
        Result(f"store.{name}.rate", middle(rates), "samples/s", None, None, spread(rates)),
        Result(f"store.{name}.cpu", middle(cpu), "CPU-s/M samples", None, None, f"{spread(cpu)}; until all is on disk"),
        Result(f"store.{name}.memory", memory / 1e6, "MB", None, None, "peak"),
        Result(f"store.{name}.disk", disk, "B/sample", None, None, "index included"),
    ]


async def _insert(program: VictoriaMetrics, homes: Homes, first_minute: int, minutes: int) -> float:
    """Sends these minutes; returns the seconds that sending alone took."""
    transcoder = Transcoder(homes.interval_start_ms(first_minute + minutes))
    pieces = batches(homes, first_minute, minutes)
    turn = asyncio.Semaphore(_AT_ONCE)
    seconds = 0.0
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        adapter = VictoriaMetricsStore(http, program.url)

        async def send(body: Sequence[memoryview]) -> None:
            async with turn:
                await adapter.insert_rows(body)

        while bodies := [transcoder.body(batch) for batch in islice(pieces, _BODIES_IN_MEMORY)]:
            began_s = time.monotonic()
            await asyncio.gather(*[send(body) for body in bodies])
            seconds += time.monotonic() - began_s
        (await http.get(f"{program.url}/internal/force_flush")).raise_for_status()
    return seconds
