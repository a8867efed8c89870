"""The writer alone: bundles in memory are unpacked, decoded, checked and rendered; nothing is read or sent."""

import time

from wattfleet_tenants.reading import INTERVAL_MS

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.results import Result, middle, spread
from wattfleet_bench.transcoding import Transcoder, batches

_HOMES = 20_000
_MINUTES = 6


def run(bench: Bench) -> list[Result]:
    """Microseconds of CPU per message of 30 readings, and what that makes in samples a second."""
    homes = Homes(_HOMES, day_in_the_past_ms())
    minutes = bench.amount(_MINUTES, 2)
    bench.progress.step("bundles are packed")
    packed = list(batches(homes, 0, minutes))
    transcoder = Transcoder(homes.interval_start_ms(minutes) + INTERVAL_MS)
    each_us = []
    for repeat in range(bench.repeats + 1):
        bench.progress.step(f"repeat {repeat} of {bench.repeats}" if repeat else "warm-up")
        began_s = time.process_time()
        for batch in packed:
            transcoder.body(batch)
        each_us.append((time.process_time() - began_s) / (homes.count * minutes) * 1e6)
    measured = each_us[1:]
    rates = [SOCKETS / each * 1e6 for each in measured]
    what = "unpack, decode, check, render, in batches of 6,000 messages"
    return [
        Result("writer.transcoding", middle(measured), "us/message", None, None, f"{spread(measured)}; {what}"),
        Result("writer.transcoding.rate", middle(rates), "samples/s", None, None, spread(rates)),
    ]
