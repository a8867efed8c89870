"""One run of a design on RabbitMQ and InfluxDB: fresh servers, a warm-up, the measured minutes, and what is stored.

The publisher keeps a bounded number of messages on their way and never builds a queue: RabbitMQ is fastest when it can
hand a message on at once. Everything but the servers is a process of this program, so that each has a pid to measure.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_bench.baseline.consumer import Consumer, Habits, Render, Store, declare, open_channel, queued
from wattfleet_bench.baseline.lines import MEASUREMENT, FixedWidthLines, line_by_line
from wattfleet_bench.baseline.publisher import Publisher
from wattfleet_bench.baseline.servers import InfluxDb, RabbitMq
from wattfleet_bench.homes import SOCKETS, Homes, power_dw
from wattfleet_bench.measure import Meter
from wattfleet_bench.shard_under_test import running

WARM_UP_MINUTES = 2
SAMPLE_OF_HOMES = 20

_ON_THEIR_WAY = 5_000
_STORED_WITHIN_S = 120.0
_STOPPED_WITHIN_S = 20.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Design:
    """How messages get from RabbitMQ into InfluxDB. render: makes the function that a consumer renders with."""

    name: str
    consumers: int
    habits: Habits
    render: Callable[[], Render]


def published_render() -> Render:
    """One object and one line per reading."""
    return line_by_line


PUBLISHED = Design("published", 2, Habits(batch=166, prefetch=332, acknowledges_each=True), published_render)
"""Batches of up to 5,000 points, as the published project wrote them."""

BEST = Design("best", 1, Habits(batch=2_000, prefetch=4_000, acknowledges_each=False), FixedWidthLines)
"""The best that could be built of RabbitMQ and InfluxDB here."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed. cpu_s: per process, while the measured messages went through.

    stored: readings that InfluxDB holds, warm-up included, of `sent`. acknowledged: messages. differing: readings of a
    sample of homes that are not stored as they were sent.
    """

    messages: int
    wall_s: float
    cpu_s: dict[str, float]
    sent: int
    stored: int
    acknowledged: int
    differing: int

    @property
    def rate(self) -> float:
        """Messages per second, from the first that is sent until the last is acknowledged."""
        return self.messages / self.wall_s

    def cpu_s_per_million(self, process: str | None = None) -> float:
        """CPU seconds per million readings, of one process or of all."""
        used_s = sum(self.cpu_s.values()) if process is None else self.cpu_s[process]
        return used_s / (self.messages * SOCKETS) * 1e6


def run(design: Design, programs: Path, homes: Homes, minutes: int) -> Run:
    """Sends `minutes` of all homes through `design`, after a warm-up that makes the store know its series.

    Raises RuntimeError or TimeoutError when not everything that was sent is acknowledged in the end.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker, store = RabbitMq(programs, folder), InfluxDb(programs, folder)
        stack.enter_context(running(broker, store))
        store.create_database()
        declare(broker.port)
        path = stack.enter_context(_Path(design, broker, store, homes))
        path.send(range(WARM_UP_MINUTES))
        meter = path.send(range(WARM_UP_MINUTES, WARM_UP_MINUTES + minutes))
        if left := queued(broker.port):
            raise RuntimeError(f"{left} messages are left in the queue")
        sent_minutes = range(WARM_UP_MINUTES + minutes)
        return Run(
            messages=minutes * homes.count,
            wall_s=meter.wall_s,
            cpu_s=_by_kind({name: usage.cpu_s for name, usage in meter.usage.items()}),
            sent=len(sent_minutes) * homes.count * SOCKETS,
            stored=_stored(store),
            acknowledged=path.acknowledged,
            differing=_differing(store, homes, sent_minutes),
        )


class _Counter(Protocol):
    value: int

    def get_lock(self) -> Any: ...


class _Path:
    """The processes between the two servers, and how to send through them."""

    def __init__(self, design: Design, broker: RabbitMq, store: InfluxDb, homes: Homes) -> None:
        self._homes = homes
        self._counter: _Counter = _SPAWN.Value("q", 0)
        self._over = _SPAWN.Event()
        self._orders, orders = _SPAWN.Pipe()
        publish = _SPAWN.Process(target=_publish, args=(orders, broker.port, homes, self._counter), daemon=True)
        self._processes: dict[str, BaseProcess] = {"publisher": publish}
        for number in range(1, design.consumers + 1):
            what = (design, broker.port, store.port, self._counter, self._over)
            self._processes[f"consumer {number}"] = _SPAWN.Process(target=_consume, args=what, daemon=True)
        self._pids = {"rabbitmq": broker.pid, "influxdb": store.pid}
        self._theirs = orders

    def __enter__(self) -> Self:
        for name, process in self._processes.items():
            process.start()
            self._pids[name] = process.pid or 0
        self._theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._orders.close()
        for process in self._processes.values():
            process.join(_STOPPED_WITHIN_S)
            process.kill()

    @property
    def acknowledged(self) -> int:
        """How many messages the consumers have acknowledged."""
        return self._counter.value

    def send(self, minutes: range) -> Meter:
        """Sends these minutes of all homes; returns what it took until the last message was acknowledged."""
        until = minutes.stop * self._homes.count
        self._order(minutes, "the messages are made")
        with Meter(self._pids) as meter:
            self._order(None, "all is published and confirmed")
            self._wait(lambda: self.acknowledged >= until, "all is stored and acknowledged")
        return meter

    def _order(self, order: range | None, what: str) -> None:
        self._orders.send(order)
        self._wait(lambda: self._orders.poll() and self._orders.recv(), what)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def come_true() -> bool:
            if ended := [name for name, process in self._processes.items() if not process.is_alive()]:
                raise RuntimeError(f"{ended[0]} ended before {what}")
            return condition()

        wait_until(come_true, _STORED_WITHIN_S, what)


def _consume(design: Design, broker_port: int, store_port: int, counter: _Counter, over: Event) -> None:
    def acknowledged(count: int) -> None:
        with counter.get_lock():
            counter.value += count

    write = Store(store_port).write
    Consumer(open_channel(broker_port), write, design.render(), design.habits, acknowledged).run(over.is_set)


def _publish(orders: Connection, port: int, homes: Homes, counter: _Counter) -> None:
    publisher = Publisher(port, homes)
    published = 0

    def may_send(count: int) -> bool:
        nonlocal published
        if published + count - counter.value > _ON_THEIR_WAY:
            return False
        published += count
        return True

    with suppress(EOFError):
        while True:
            publisher.prepare(orders.recv())
            orders.send(True)
            orders.recv()
            publisher.send(may_send)
            orders.send(True)


def _by_kind(cpu_s: dict[str, float]) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for name, used_s in cpu_s.items():
        kind = name.partition(" ")[0]
        kinds[kind] = kinds.get(kind, 0.0) + used_s
    return kinds


def _stored(store: InfluxDb) -> int:
    counts = store.query(f"SELECT count(*) FROM {MEASUREMENT}")  # noqa: S608 (of constants)
    return sum(counts[0]["values"][0][1:]) if counts else 0


def _differing(store: InfluxDb, homes: Homes, minutes: range) -> int:
    """How many readings of a sample of homes InfluxDB does not hold as they were sent."""
    numbers = np.linspace(0, homes.count - 1, min(SAMPLE_OF_HOMES, homes.count)).astype(np.uint32)
    households = homes.households()
    times = {homes.interval_start_ms(minute): row for row, minute in enumerate(minutes)}
    differing = 0
    for number in numbers:
        sent = np.concatenate([power_dw(numbers[numbers == number], minute) for minute in minutes]) / 10
        held = _held(store, households[int(number)], times)
        differing += int(np.count_nonzero(held != sent))
    return differing


def _held(store: InfluxDb, household: str, times: dict[int, int]) -> NDArray[np.float64]:
    """What is stored of a household, a row per time and a column per socket; NaN where there is nothing."""
    held = np.full((len(times), SOCKETS), np.nan)
    question = f"SELECT * FROM {MEASUREMENT} WHERE household = '{household}'"  # noqa: S608 (an id of our own)
    for series in store.query(question):
        columns = series["columns"]
        for values in series["values"]:
            row = dict(zip(columns, values, strict=True))
            if "socket" in row:
                held[times[row["time"]], int(row["socket"]) - 1] = row["value"]
            else:
                held[times[row["time"]]] = [row[f"s{socket + 1}"] for socket in range(SOCKETS)]
    return held
