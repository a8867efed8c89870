"""The production path up to the acknowledgement: publisher, EDGE, ingest, fsynced stream, and back to the publisher."""

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.measure import Meter
from wattfleet_bench.results import Result, at_least, middle, spread
from wattfleet_bench.shard_under_test import ShardUnderTest

_HOMES = 2_000
_MINUTES = 150
_CONNECTIONS = 4
_LEAST_PER_S = 33_333


def run(bench: Bench) -> list[Result]:
    """Messages a second, CPU of broker and ingest. There is no writer: what was sent stays in the streams."""
    minutes = bench.amount(_MINUTES)
    rates, cpu = [], []
    peak = 0
    with bench.folder() as folder, ShardUnderTest(folder, Homes(_HOMES, day_in_the_past_ms()), writes=False) as shard:
        publisher = shard.publisher(_CONNECTIONS)
        pids = {**shard.pids(), "publisher": publisher.pid}
        for repeat in range(bench.repeats + 1):
            bench.progress.step(f"repeat {repeat} of {bench.repeats}" if repeat else "warm-up")
            messages = publisher.prepare(repeat * minutes, minutes)
            with Meter(pids) as meter:
                told = publisher.send()
            if repeat:
                rates.append(messages / (told["ended_s"] - told["began_s"]))
                cpu.append({part: used.cpu_s / messages / SOCKETS * 1e6 for part, used in meter.usage.items()})
                peak = max(peak, meter.usage["ingest"].memory.peak)
    what = f"{_HOMES:,} homes over {_CONNECTIONS} connections, acknowledged when the bundle is on disk"
    return [
        at_least("ingest.fsync_before_ack.rate", middle(rates), "msg/s", _LEAST_PER_S, f"{spread(rates)}; {what}"),
        *[
            Result(f"ingest.cpu.{part}", middle(each), "CPU-s/M samples", None, None, spread(each))
            for part in cpu[0]
            for each in [[one[part] for one in cpu]]
        ],
        Result("ingest.memory", peak / 1e6, "MB", None, None, "peak"),
    ]
