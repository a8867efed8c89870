"""What a connection per home costs the broker, where the other rungs let homes share a few.

The same messages at the same pace go through the ingest twice: over a connection per home, each with its own scoped
credential, and over four shared ones.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import Homes, day_in_the_past_ms
from wattfleet_bench.many_homes import Settings
from wattfleet_bench.measure import Meter, memory
from wattfleet_bench.results import Result
from wattfleet_bench.shard_under_test import ShardUnderTest, pipe

_HOMES = 2_000
_PER_S = 5_000
_MINUTES = 25
_END_WITHIN_S = 10.0


def run(bench: Bench) -> list[Result]:
    """CPU of the broker per message both ways, and memory and CPU per connection."""
    count, minutes = bench.amount(_HOMES), _MINUTES
    homes = Homes(count, day_in_the_past_ms())
    with bench.folder() as folder, ShardUnderTest(folder, homes, writes=False) as shard:
        nats = shard.broker.server.pid
        publisher = shard.publisher()
        publisher.prepare(0, minutes)
        bench.progress.step("shared connections")
        with Meter({"nats": nats}) as shared:
            messages = publisher.send(_PER_S)["messages"]
        bench.progress.step(f"{count:,} connections are opened")
        settings = Settings(
            shard.broker.url, str(_credentials(folder, shard, homes)), shard.broker.shard, count, homes.day_ms
        )
        before = memory(nats).rss
        with Meter({"nats": nats}) as opening:
            many = _start(settings)
        try:
            opened = memory(nats).rss
            bench.progress.step("a connection per home")
            with Meter({"nats": nats}) as own:
                _send(many, minutes, minutes)
        finally:
            _end(many)
    what = f"{messages:,} messages at {_PER_S:,} msg/s"
    per_message = {"own": own.cpu_s / messages * 1e6, "shared": shared.cpu_s / messages * 1e6}
    return [
        Result("connections.own.cpu.nats", per_message["own"], "us/message", None, None, f"{what}, one each"),
        Result("connections.shared.cpu.nats", per_message["shared"], "us/message", None, None, f"{what}, 4 shared"),
        Result(
            "connections.memory.nats",
            (opened - before) / count / 1e3,
            "kB/connection",
            None,
            None,
            f"{count:,} of them",
        ),
        Result(
            "connections.open.cpu.nats",
            opening.cpu_s / count * 1e3,
            "CPU-ms/connection",
            None,
            None,
            "signing in, once",
        ),
    ]


def _credentials(folder: Path, shard: ShardUnderTest, homes: Homes) -> Path:
    path = folder / "homes.json"
    path.write_text(json.dumps([shard.broker.household_credentials(one) for one in homes.households()]))
    return path


def _start(settings: Settings) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "wattfleet_bench.many_homes", json.dumps(asdict(settings))]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        _hear(process, "connected")
    except RuntimeError:
        _end(process)
        raise
    return process


def _send(process: "subprocess.Popen[bytes]", first_minute: int, minutes: int) -> None:
    stdin = pipe(process.stdin)
    order = {"first_minute": first_minute, "minutes": minutes, "per_s": _PER_S}
    stdin.write(json.dumps(order).encode() + b"\n")
    stdin.flush()
    _hear(process, "sent")


def _hear(process: "subprocess.Popen[bytes]", event: str) -> None:
    line = pipe(process.stdout).readline()
    if not line or json.loads(line)["event"] != event:
        raise RuntimeError(f"the homes did not say {event!r} but {line!r}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    pipe(process.stdin).close()
    try:
        process.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_END_WITHIN_S)
    pipe(process.stdout).close()
