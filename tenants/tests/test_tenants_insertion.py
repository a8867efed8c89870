"""How readings are handed over: a bounded piece at a time, each until the store has it, and no bug is hidden."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from wattfleet_tenants.ports import StoreRun, Unavailable
from wattfleet_tenants.reading import INTERVAL_MS, MISSING
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.builders import A_MINUTE_MS
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import insertion, runs
from wattfleet_tenants.writer.belonging import SomebodyLeftError
from wattfleet_tenants.writer.insertion import Insertion
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.render import Renderer

_TAKES_S = 0.01


class CountingStore:
    def __init__(self, failures: int = 0, bug: Exception | None = None) -> None:
        self.at_once = self.most_at_once = 0
        self.runs: list[bytes] = []
        self.rows: list[bytes] = []
        self.failed = 0
        self._failures = failures
        self._bug = bug

    def fail_no_more(self) -> None:
        self._failures = 0

    async def insert_runs(self, body: Sequence[memoryview], before: asyncio.Event) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await before.wait()
            await asyncio.sleep(_TAKES_S)
            if self._bug:
                raise self._bug
            if self._failures:
                self._failures -= 1
                self.failed += 1
                raise Unavailable("not now")
            self.runs.append(b"".join(body))
        finally:
            self.at_once -= 1

    async def insert_rows(self, rows: Sequence[memoryview]) -> None:
        self.rows.append(b"".join(rows))

    async def look(self) -> StoreRun:
        return StoreRun("1", 0)


def backlog(homes: int, minutes: int, missing: bool = False) -> PowerBatch:
    count = homes * minutes
    powers = np.arange(count * 3, dtype=np.int32).reshape(count, 3) % 1_000
    if missing:
        powers[:, 1] = MISSING
    return PowerBatch(
        np.arange(count),
        np.array([b"h%016d" % (i // minutes) for i in range(count)], "S28"),
        np.ones(count, np.uint32),
        (A_MINUTE_MS + INTERVAL_MS * (np.arange(count) % minutes)).astype(np.uint64),
        powers,
        np.empty((count, 0), np.int32),
    )


async def confirm() -> None:
    """Nobody has left."""


def insert(store: CountingStore, batch: PowerBatch) -> int:
    return asyncio.run(Insertion(store, Persistence(Health()), Renderer(1_000)).insert([batch], confirm))


@pytest.mark.parametrize("failures", [0, 2])
def test_every_body_goes_once_three_at_a_time_and_again_when_it_failed(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(runs, "MOST_SERIES_PER_BODY", 30)
    store, batch = CountingStore(failures), backlog(100, 3)
    assert insert(store, batch) == 900
    assert sorted(store.runs) == sorted(bytes(body.content) for body in runs.bodies([batch]))
    assert len(store.runs) == 10
    assert store.most_at_once == 3


def test_a_bug_while_a_body_is_handed_over_is_not_tried_again() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        insert(CountingStore(bug=ZeroDivisionError()), backlog(100, 3))
    assert raised.group_contains(ZeroDivisionError)


async def test_once_somebody_has_left_no_body_is_tried_again_and_the_next_insertion_is_not_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "MOST_SERIES_PER_BODY", 30)
    store = CountingStore(failures=10**6)
    insertion_ = Insertion(store, Persistence(Health()), Renderer(1_000))

    async def leave_after_a_failure() -> None:
        if store.failed:
            raise SomebodyLeftError

    async with asyncio.timeout(5):
        with pytest.raises(ExceptionGroup) as raised:
            await insertion_.insert([backlog(100, 3)], leave_after_a_failure)
    assert raised.group_contains(SomebodyLeftError)
    assert store.failed <= 3, "those that were under way when the first one failed"
    store.fail_no_more()
    async with asyncio.timeout(5):
        assert await insertion_.insert([backlog(100, 3)], confirm) == 900
    assert len(store.runs) == 10


def test_rows_go_some_messages_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insertion, "_MESSAGES_OF_ROWS_AT_ONCE", 70)
    store = CountingStore()
    assert insert(store, backlog(100, 3, missing=True)) == 600
    assert [rows.count(b"\n") for rows in store.rows] == [140, 140, 140, 140, 40]
