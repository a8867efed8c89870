"""Whatever is written as runs, the store holds it exactly, household by household and sample by sample."""

import asyncio
import json
from dataclasses import replace
from itertools import groupby, pairwise

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS, MISSING
from wattfleet_tenants.testing.builders import A_MINUTE_MS
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import order, runs
from wattfleet_tenants.writer.grouping import neighbours, senders
from wattfleet_tenants.writer.render import Renderer
from wattfleet_tenants.writer.roster import Roster


def batch_of(households: list[str], power_dw: np.ndarray, times: list[int] | None = None) -> PowerBatch:
    """power_dw[i] are the readings of households[i]; without `times`, each household's minutes follow each other. The
    rows are in the order in which a writer has them."""
    count = len(households)
    minutes = times or [
        A_MINUTE_MS + households[: i + 1].count(household) * INTERVAL_MS for i, household in enumerate(households)
    ]
    ids = np.array([household.encode() for household in households], "S28")
    batch = PowerBatch(
        np.arange(count),
        ids,
        np.ones(count, np.uint32),
        np.array(minutes, np.uint64),
        power_dw.astype(np.int32),
        np.empty((count, 0), np.int32),
    )
    return batch.only(senders(ids, Roster()).positions)


def store(program: VictoriaMetrics, batch: PowerBatch) -> None:
    async def insert() -> None:
        async with httpx.AsyncClient() as http:
            nothing_before = asyncio.Event()
            nothing_before.set()
            for body in runs.bodies([batch]):
                await VictoriaMetricsStore(http, program.url).insert_runs([body.content], nothing_before)

    asyncio.run(insert())


def expected(batch: PowerBatch) -> dict[tuple[str, str], dict[int, float]]:
    series: dict[tuple[str, str], dict[int, float]] = {}
    for household, at_ms, row in zip(batch.households, batch.interval_start_ms.tolist(), batch.power_dw, strict=True):
        for socket, value in enumerate(row.tolist(), 1):
            series.setdefault((household.decode(), str(socket)), {})[at_ms] = value / 10
    return series


def exported(program: VictoriaMetrics, batch: PowerBatch) -> dict[tuple[str, str], dict[int, float]]:
    names = "|".join(sorted({household.decode() for household in batch.households}))
    return {
        (series.labels["household"], series.labels["socket"]): dict(zip(series.at_ms, series.values, strict=True))
        for series in program.export(f'wattfleet_power_watts{{household=~"{names}"}}')
    }


@pytest.mark.parametrize("sockets", [1, 9, 10, 30, 64])
def test_the_store_holds_exactly_what_was_written(victoria_metrics: VictoriaMetrics, sockets: int) -> None:
    chance = np.random.default_rng(sockets)
    ids = [mint_household_id() for _ in range(12)] + [f"h{'x' * 14}{sockets:02}", "h" + f"{sockets:02}" * 13]
    households = [ids[i] for i in chance.integers(0, len(ids), 400)]
    power_dw = chance.integers(-250_000, 250_001, (400, sockets))
    power_dw[0], power_dw[1] = -250_000, 250_000
    batch = batch_of(households, power_dw)
    store(victoria_metrics, batch)
    assert exported(victoria_metrics, batch) == expected(batch)


def test_the_store_keeps_series_in_the_order_in_which_they_are_written(victoria_metrics: VictoriaMetrics) -> None:
    """An order that is not the store's any more costs it a sixth more work, and nothing else would tell."""
    ids = [mint_household_id() for _ in range(200)]
    batch = batch_of(ids * 2, np.arange(400 * 12).reshape(400, 12))
    store(victoria_metrics, batch)
    assert exported(victoria_metrics, batch) == expected(batch)
    parameters = {"match[]": "wattfleet_power_watts", "reduce_mem_usage": "1"}
    lines = httpx.get(f"{victoria_metrics.url}/api/v1/export", params=parameters).text.splitlines()
    found = [(one["household"], one["socket"]) for one in (json.loads(line)["metric"] for line in lines)]
    ranks = [tuple(order.ranks([one.encode() for one in labels]).tolist()) for labels in found if labels[0] in ids]
    ascending = sum(one < other for one, other in pairwise(ranks))
    assert len(ranks) == 2_400
    assert ascending >= 0.99 * len(ranks), "but for the seams between what several threads export"


def test_households_are_written_in_the_order_of_their_ranks() -> None:
    ids = np.array([mint_household_id().encode() for _ in range(50)] * 2, "S28")
    ranks = order.ranks(ids[senders(ids, Roster()).positions].tolist()).tolist()
    assert ranks == sorted(ranks)


def test_households_that_are_alike_are_not_taken_for_one(victoria_metrics: VictoriaMetrics) -> None:
    alike = [f"halike00{mint_household_id()[1:10]}{i}" for i in range(2)]
    batch = batch_of(alike * 60, np.arange(240).reshape(120, 2))
    store(victoria_metrics, batch)
    assert exported(victoria_metrics, batch) == expected(batch)


def test_a_body_ends_before_it_is_too_large_and_the_next_one_goes_on(
    victoria_metrics: VictoriaMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_SERIES_PER_BODY", 20)
    ids = [mint_household_id() for _ in range(7)]
    batch = batch_of(ids * 20, np.random.default_rng(1).integers(0, 99_999, (140, 6)))
    assert len(list(runs.bodies([batch]))) == 3
    store(victoria_metrics, batch)
    assert exported(victoria_metrics, batch) == expected(batch)


def test_one_home_that_was_away_for_three_months_takes_several_bodies_of_a_size_that_the_store_takes(
    victoria_metrics: VictoriaMetrics,
) -> None:
    messages = 129_600
    household = mint_household_id()
    powers = np.arange(messages * 8).reshape(messages, 8) % 200_000
    times = A_MINUTE_MS - INTERVAL_MS * np.arange(messages, 0, -1)
    batch = batch_of([household] * messages, powers, times.tolist())
    sent = list(runs.bodies([batch]))
    assert sum(body.samples for body in sent) == 8 * messages
    assert max(body.content.nbytes for body in sent) < 17_000_000 < sum(body.content.nbytes for body in sent)
    store(victoria_metrics, batch)
    assert exported(victoria_metrics, batch) == expected(batch)


@pytest.mark.parametrize("at_ms", [2_678_400_000, 34_359_720_000, 4_102_444_800_000])
def test_times_from_1970_to_2100_fit_into_their_width(at_ms: int) -> None:
    household = mint_household_id()
    batch = batch_of([household], np.array([[7]]), [at_ms // INTERVAL_MS * INTERVAL_MS])
    (body,) = runs.bodies([batch])
    varint = bytes(body.content[-6:])
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(varint)) == batch.interval_start_ms[0]


@given(
    st.lists(st.sampled_from(["haaaaaaaa00000001", "haaaaaaaa00000002", "hbbbbbbbb000000001", "hc" * 10]), max_size=40)
)
def test_every_message_is_with_those_of_its_household(households: list[str]) -> None:
    ids = np.array([household.encode() for household in households], "S28")
    roster = Roster()
    roster.numbers(ids[::2])
    sent = senders(ids, roster)
    assert [roster.names[number] for number in sent.numbers] == households
    assert sent.ranks.tolist() == order.ranks(ids.tolist()).tolist()
    rows = [list(row) for _, row in groupby(sent.positions.tolist(), lambda i: households[i])]
    assert sorted(i for row in rows for i in row) == list(range(len(households)))
    assert len(rows) == len(set(households))
    assert all(row == sorted(row) for row in rows), "in the order in which they came"
    some = set(sent.numbers.tolist()[::2])
    assert sent.mark(some).tolist() == [number in some for number in sent.numbers.tolist()]


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5))
def test_neighbours_are_found_cut_and_put_into_matrices(households: list[int], most: int) -> None:
    ids = np.array([b"h%d" % household for household in households], "S28")
    wanted = [len(list(alike)) for _, alike in groupby(households)]
    found = neighbours(ids)
    assert found.counts.tolist() == wanted
    pieces = found.cut(most)
    assert max(pieces.counts, default=0) <= most
    rows = [range(first, first + count) for first, count in zip(pieces.firsts, pieces.counts, strict=True)]
    assert [row for piece in rows for row in piece] == list(range(len(ids)))
    in_matrices = {
        int(one): row for which, matrix in pieces.matrices() for one, row in zip(which, matrix.tolist(), strict=True)
    }
    assert [in_matrices[i] for i in range(len(pieces))] == [list(row) for row in rows]


def test_runs_are_for_a_backlog_only() -> None:
    ones = np.ones((200, 3))
    backlog = batch_of(["haaaaaaaa00000001", "haaaaaaaa00000002"] * 100, ones)
    assert runs.worth_runs(backlog, 200)
    few = backlog.only(np.arange(200) < 50)
    assert not runs.worth_runs(few, 50), "too few"
    assert runs.worth_runs(few, 200), "others come with them"
    assert not runs.worth_runs(batch_of([f"h{i:016}" for i in range(200)], ones), 200), "one minute of each"


@pytest.mark.parametrize("missing", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("thermometers", [0, 2])
def test_runs_and_rows_together_hold_every_reading_once(
    victoria_metrics: VictoriaMetrics, missing: float, thermometers: int
) -> None:
    chance = np.random.default_rng(3)
    ids = [mint_household_id(), mint_household_id()]
    power_dw = chance.integers(-9_999, 99_999, (200, 12))
    power_dw[chance.random(power_dw.shape) < missing] = MISSING
    temperature_cc = chance.integers(-1_000, 3_000, (200, thermometers)).astype(np.int32)
    temperature_cc[chance.random(temperature_cc.shape) < missing] = MISSING
    batch = replace(batch_of(ids * 100, power_dw), temperature_cc=temperature_cc)
    as_runs, as_rows = runs.apart(batch)
    assert as_runs.samples - np.count_nonzero(as_runs.temperature_cc != MISSING) == as_runs.power_dw.size
    store(victoria_metrics, as_runs)
    rendered = [Renderer(25_000).render(part) for part in as_rows]

    async def insert() -> None:
        async with httpx.AsyncClient() as http:
            await VictoriaMetricsStore(http, victoria_metrics.url).insert_rows(rendered)

    if rendered:
        asyncio.run(insert())
    wanted = {key: {at_ms: watts for at_ms, watts in values.items() if watts != MISSING / 10}
              for key, values in expected(batch).items()}  # fmt: skip
    assert exported(victoria_metrics, batch) == {key: values for key, values in wanted.items() if values}
    stored = victoria_metrics.export(f'wattfleet_temperature_celsius{{household=~"{"|".join(ids)}"}}')
    assert sum(len(series.values) for series in stored) == np.count_nonzero(temperature_cc != MISSING)
