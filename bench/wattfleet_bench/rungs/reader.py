"""The reader: what one household asks, out of a store of 20,000, over HTTP with a grant, as the gateway asks it.

One household has a year of minutes, all have the latest ones. Every question is asked anew: the store is told not to
use what it remembers of earlier answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
from numpy.typing import NDArray
from wattfleet_tenants import grants
from wattfleet_tenants.adapters.reader_client import ReaderClient
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS, interval_start
from wattfleet_tenants.testing.data_plane import ReaderProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.wire.bundle import HOUSEHOLD_BYTES
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.render import Renderer

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import Homes, power_dw
from wattfleet_bench.measure import Meter
from wattfleet_bench.results import Result, middle
from wattfleet_bench.shard_under_test import quiet, running, store

_HOMES = 20_000
_LATEST_MINUTES = 2
_DAYS = 365
_MESSAGES_PER_BODY = 5_760  # four days of one home
_AT_ONCE = 2
_ZONE = "Europe/Berlin"
_GRANT_S = 30
_STEP_S = 300

Question = Callable[[ReaderClient, str], Awaitable[object]]


def run(bench: Bench) -> list[Result]:
    """p50 and p95 in ms, and CPU of reader and store per question."""
    homes = Homes(_HOMES, 0)
    asked = homes.households()[0]
    keys = grants.generate_signing_keys()
    now_ms = interval_start(int(time.time() * 1000))
    with bench.folder() as folder:
        (folder / "grant.pem").write_text(keys.public_pem)
        broker, kept = ShardBroker(folder / "nats"), store(folder / "store")
        with running(broker.server, kept):
            asyncio.run(broker.ensure())
            bench.progress.step("a year of one household and the latest minutes of 20,000 are stored")
            asyncio.run(_fill(bench, kept, homes, now_ms))
            reader = ReaderProcess(folder, broker, kept.url, folder / "grant.pem")
            quiet(reader)
            with running(reader):
                return asyncio.run(_ask_all(bench, reader, kept, asked, keys.private_pem, now_ms))


def _questions(asked: HouseholdId, now_ms: int) -> dict[str, tuple[str, int, Question]]:
    """By name: what it is, how often it is asked, and the question itself."""
    day_ms = 24 * 3600 * 1000
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()

    def last_day(reader: ReaderClient, url: str) -> Awaitable[object]:
        return reader.range(url, asked, now_ms - day_ms, now_ms, _STEP_S)

    def month(reader: ReaderClient, url: str) -> Awaitable[object]:
        return reader.energy(url, asked, today - timedelta(30), today, "day", _ZONE)

    def year(reader: ReaderClient, url: str) -> Awaitable[object]:
        return reader.energy(url, asked, today - timedelta(_DAYS), today, "hour", _ZONE)

    return {
        "now": ("current power of 30 sockets", 200, lambda reader, url: reader.now(url, asked)),
        "day": ("24 h in steps of 5 min, 30 sockets", 100, last_day),
        "month": ("30 days by local day, 30 sockets", 60, month),
        "year": ("a year by local hour, 30 sockets", 20, year),
    }


async def _ask_all(
    bench: Bench, reader: ReaderProcess, kept: VictoriaMetrics, asked: HouseholdId, private_pem: str, now_ms: int
) -> list[Result]:
    results = []
    async with httpx.AsyncClient(trust_env=False) as http:
        client = ReaderClient(http, lambda who: grants.sign(private_pem, "reader", who, _GRANT_S))
        for name, (what, times, question) in _questions(asked, now_ms).items():
            times_asked = bench.amount(times, 5)
            bench.progress.step(f"{what}, {times_asked} times")
            await question(client, reader.url)
            took_ms = []
            with Meter({"reader": reader.pid, "store": kept.pid}) as meter:
                for _ in range(times_asked):
                    began_s = time.perf_counter()
                    await question(client, reader.url)
                    took_ms.append((time.perf_counter() - began_s) * 1000)
            p95 = float(np.percentile(took_ms, 95))
            results += [
                Result(f"reader.{name}.p50", middle(took_ms), "ms", None, None, f"{times_asked} times; {what}"),
                Result(f"reader.{name}.p95", p95, "ms", None, None, f"one of {_HOMES:,} households, no cached answers"),
                *[
                    Result(f"reader.{name}.cpu.{part}", used.cpu_s / times_asked * 1000, "CPU-ms/question")
                    for part, used in meter.usage.items()
                ],
            ]
    return results


async def _fill(bench: Bench, kept: VictoriaMetrics, homes: Homes, now_ms: int) -> None:
    minutes = bench.amount(_DAYS) * 24 * 60
    renderer = Renderer(Limits().max_power_w)
    turn = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        adapter = VictoriaMetricsStore(http, kept.url)

        async def send(batch: PowerBatch) -> None:
            async with turn:
                await adapter.insert_rows([renderer.render(batch)])

        latest = range(1, _LATEST_MINUTES + 1)
        for back in latest:
            for first in range(0, homes.count, _MESSAGES_PER_BODY):
                ids = homes.ids()[first : first + _MESSAGES_PER_BODY]
                await send(_batch(ids, np.full(len(ids), now_ms - back * INTERVAL_MS)))
        starts = now_ms - np.arange(minutes, _LATEST_MINUTES, -1) * INTERVAL_MS
        pieces = [starts[first : first + _MESSAGES_PER_BODY] for first in range(0, len(starts), _MESSAGES_PER_BODY)]
        for first in range(0, len(pieces), _AT_ONCE):
            one_id = homes.ids()[:1]
            both = [_batch(np.repeat(one_id, len(piece)), piece) for piece in pieces[first : first + _AT_ONCE]]
            await asyncio.gather(*[send(batch) for batch in both])
        (await http.get(f"{kept.url}/internal/force_flush")).raise_for_status()


def _batch(
    ids: NDArray[np.bytes_],
    starts_ms: NDArray[np.int64],
) -> PowerBatch:
    """Messages of these homes at these times, with values that vary as real ones do."""
    count = len(ids)
    numbers = (starts_ms // INTERVAL_MS).astype(np.uint32)
    return PowerBatch(
        np.arange(count),
        ids.astype(f"S{HOUSEHOLD_BYTES}"),
        np.ones(count, np.uint32),
        starts_ms.astype(np.uint64),
        power_dw(numbers, 0),
        np.empty((count, 0), np.int32),
    )
