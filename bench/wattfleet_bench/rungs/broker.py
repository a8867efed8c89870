"""The broker alone, with our own bare publisher and consumer, and with `nats bench` where that is installed.

Core NATS shows what passing messages on costs. One JetStream message per home, without and with fsync, shows why there
is an ingest: packed by the hundred, the same fsync is affordable.
"""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nats.js.api import StorageType, StreamConfig
from wattfleet_tenants import subjects
from wattfleet_tenants.testing.nats_server import ShardBroker

from wattfleet_bench.bench import Bench
from wattfleet_bench.consumer import ConsumerProcess, count_messages
from wattfleet_bench.consumer import Settings as ConsumerSettings
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.measure import Meter
from wattfleet_bench.nats_line import connect_with_file
from wattfleet_bench.publisher import Settings
from wattfleet_bench.results import Result, middle, spread
from wattfleet_bench.shard_under_test import PublisherProcess, bare_publisher, running

_HOMES = 2_000
_STREAM = "ALONE"
_FETCHED_AT_ONCE = 10_000
_NATS_BENCH_WITHIN_S = 60.0


def run(bench: Bench) -> list[Result]:
    """Messages a second and CPU of the server, each way."""
    return [*_core(bench), *_jetstream(bench, always=False), *_jetstream(bench, always=True), *_nats_bench(bench)]


def _core(bench: Bench) -> list[Result]:
    with bench.folder() as folder, _broker(folder, always=True) as broker:
        consumer = ConsumerProcess(ConsumerSettings(broker.url, str(broker.ingest_edge_creds), broker.shard), folder)
        with running(consumer), _publisher(folder, broker, core=True) as publisher:
            pids = {"nats": broker.server.pid, "consumer": consumer.pid}
            return _measured(bench, publisher, pids, bench.amount(200), "broker.core", "core NATS, nothing stored")


def _jetstream(bench: Bench, *, always: bool) -> list[Result]:
    name = "broker.jetstream_fsync" if always else "broker.jetstream"
    what = "one JetStream message per home, " + ("fsync before each acknowledgement" if always else "fsync every 2 min")
    minutes = bench.amount(1 if always else 50)
    with bench.folder() as folder, _broker(folder, always=always) as broker:
        asyncio.run(_make_stream(broker))
        with _publisher(folder, broker, core=False) as publisher:
            results = _measured(bench, publisher, {"nats": broker.server.pid}, minutes, name, what)
        return results if always else [*results, _drained(broker, name)]


def jetstream_cpu_s_per_million(bench: Bench) -> float:
    """What the broker's CPU takes here and now for a piece of work that is the same everywhere: one JetStream message
    per home. CPU seconds per million readings."""
    bench.progress.step("how fast the machine is now: one JetStream message per home")
    minutes = bench.amount(50)
    with bench.folder() as folder, _broker(folder, always=False) as broker:
        asyncio.run(_make_stream(broker))
        with _publisher(folder, broker, core=False) as publisher:
            for first in (0, minutes):
                messages = publisher.prepare(first, minutes)
                with Meter({"nats": broker.server.pid}) as meter:
                    publisher.send()
    return meter.usage["nats"].cpu_s / messages / SOCKETS * 1e6


@contextmanager
def _broker(folder: Path, *, always: bool) -> Iterator[ShardBroker]:
    broker = ShardBroker(folder / "nats")
    if not always:
        config = Path(broker.server.argv[-1])
        config.write_text(config.read_text().replace(", sync_interval: always", ""))
    with running(broker.server):
        yield broker


@contextmanager
def _publisher(folder: Path, broker: ShardBroker, *, core: bool) -> Iterator[PublisherProcess]:
    creds = broker.edge_credentials("bare-publisher", bare_publisher(broker)) if core else broker.operator_creds
    settings = Settings(broker.url, str(creds), broker.shard, _HOMES, day_in_the_past_ms(), connections=1)
    publisher = PublisherProcess(settings, folder / "publisher.log")
    try:
        yield publisher
    finally:
        publisher.close()


def _measured(
    bench: Bench, publisher: PublisherProcess, pids: dict[str, int], minutes: int, name: str, what: str
) -> list[Result]:
    rates, cpu = [], []
    for repeat in range(bench.repeats + 1):
        bench.progress.step(f"{what}: {f'repeat {repeat} of {bench.repeats}' if repeat else 'warm-up'}")
        messages = publisher.prepare(repeat * minutes, minutes)
        with Meter(pids) as meter:
            told = publisher.send()
        if repeat:
            rates.append(messages / (told["ended_s"] - told["began_s"]))
            cpu.append(meter.usage["nats"].cpu_s / messages / SOCKETS * 1e6)
    return [
        Result(f"{name}.rate", middle(rates), "msg/s", None, None, f"{spread(rates)}; {what}, 1 connection"),
        Result(f"{name}.cpu.nats", middle(cpu), "CPU-s/M samples", None, None, spread(cpu)),
    ]


async def _make_stream(broker: ShardBroker) -> None:
    async with broker.operator() as client:
        subject = subjects.all_measurements(broker.shard)
        await client.jetstream().add_stream(StreamConfig(_STREAM, subjects=[subject], storage=StorageType.FILE))


def _drained(broker: ShardBroker, name: str) -> Result:
    """How fast a bare consumer pulls what was published."""
    line = connect_with_file(broker.url, broker.operator_creds)
    try:
        line.sendall(b"SUB _INBOX.drain.> 1\r\n")
        config = {"durable_name": "drain", "ack_policy": "none", "deliver_policy": "all"}
        question = json.dumps({"stream_name": _STREAM, "config": config}).encode()
        _ask(line, f"$JS.API.CONSUMER.DURABLE.CREATE.{_STREAM}.drain", question)
        waiting = json.loads(_answer(line))["num_pending"]
        began_s = time.monotonic()
        _pull(line, waiting)
        rate = waiting / (time.monotonic() - began_s)
    finally:
        line.close()
    return Result(f"{name}.drain.rate", rate, "msg/s", None, None, f"{waiting:,} messages pulled without acknowledging")


def _pull(line: socket.socket, waiting: int) -> None:
    rest, due = b"", 0
    while waiting:
        if not due:
            due = min(_FETCHED_AT_ONCE, waiting)
            question = json.dumps({"batch": due, "expires": 5_000_000_000}).encode()
            _ask(line, f"$JS.API.CONSUMER.MSG.NEXT.{_STREAM}.drain", question)
        data = rest + line.recv(1 << 20)
        count, at = count_messages(data)
        rest, due, waiting = data[at:], due - count, waiting - count


def _ask(line: socket.socket, subject: str, question: bytes) -> None:
    line.sendall(f"PUB {subject} _INBOX.drain.x {len(question)}\r\n".encode() + question + b"\r\n")


def _answer(line: socket.socket) -> bytes:
    read = b""
    while count_messages(read)[0] == 0:
        read += line.recv(1 << 16)
    return read[read.index(b"MSG ") :].partition(b"\r\n")[2].partition(b"\r\n")[0]


def _nats_bench(bench: Bench) -> list[Result]:
    """The same with NATS' own tool, where it is installed."""
    program = shutil.which("nats")
    if program is None:
        bench.progress.step("`nats bench` is not installed: left out")
        return []
    with bench.folder() as folder, _broker(folder, always=True) as broker:
        creds = broker.edge_credentials("nats-bench", replace(bare_publisher(broker), subscribe=("m.>", "_INBOX.>")))
        bench.progress.step("`nats bench`")
        subject = subjects.measurements(broker.shard, Homes(1, 0).households()[0])
        argv = [program, "--server", broker.url, "--creds", str(creds), "bench", "pub", subject]
        argv += ["--size", "138", "--msgs", str(bench.amount(1_000_000)), "--no-progress"]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=_NATS_BENCH_WITHIN_S, check=False)
    found = re.search(r"([\d,]+) msgs/sec", said.stdout + said.stderr)
    if found is None:
        bench.progress.step("`nats bench` says no rate: left out")
        return []
    rate = float(found[1].replace(",", ""))
    return [Result("broker.nats_bench.rate", rate, "msg/s", None, None, "`nats bench pub`, 138 B, nobody subscribed")]
