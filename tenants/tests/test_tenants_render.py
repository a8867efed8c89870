"""What is stored is exactly what was measured: values, labels and times, checked in a real VictoriaMetrics."""

import asyncio

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.household import HOUSEHOLD_ID_PATTERN, HouseholdId, mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS, MISSING, HomeReadings
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.wire import batch, codec
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.writer.checks import EARLIEST_MS
from wattfleet_tenants.writer.grouping import senders
from wattfleet_tenants.writer.render import Renderer
from wattfleet_tenants.writer.roster import Roster

MAX_POWER_W = 25_000
NOW_MS = 1_790_000_040_000
RENDERER = Renderer(MAX_POWER_W)

households = st.from_regex(HOUSEHOLD_ID_PATTERN, fullmatch=True).map(lambda text: HouseholdId(text.strip()))
powers = st.one_of(st.none(), st.integers(-MAX_POWER_W * 10, MAX_POWER_W * 10).map(lambda dw: dw / 10))
temperatures = st.one_of(st.none(), st.integers(-9_000, 25_000).map(lambda cc: cc / 100))
minutes = st.integers(EARLIEST_MS // INTERVAL_MS, NOW_MS // INTERVAL_MS).map(lambda minute: minute * INTERVAL_MS)
homes = st.builds(
    HomeReadings,
    st.integers(1, 2**32 - 1),
    minutes,
    st.one_of(st.lists(powers, min_size=1, max_size=12), st.lists(powers, min_size=64, max_size=64)).map(tuple),
    st.lists(temperatures, max_size=5).map(tuple),
)

Sample = tuple[str, str, str, int, float]


def samples_of(household: str, readings: HomeReadings) -> set[Sample]:
    kinds = (("wattfleet_power_watts", readings.power_w), ("wattfleet_temperature_celsius", readings.temperature_c))
    return {
        (name, household, str(number), readings.interval_start_ms, value)
        for name, found in kinds
        for number, value in enumerate(found, start=1)
        if value is not None
    }


def rendered(messages: list[tuple[HouseholdId, HomeReadings]]) -> bytes:
    senders = [household.encode() for household, _ in messages]
    batches, unreadable = batch.decode(Messages.of(senders, [codec.encode(readings) for _, readings in messages]))
    assert not unreadable
    return b"".join(RENDERER.render(found) for found in batches)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(households, homes), max_size=4))
def test_the_text_says_every_sample_once(messages: list[tuple[HouseholdId, HomeReadings]]) -> None:
    expected = sorted(sample for household, readings in messages for sample in samples_of(household, readings))
    assert sorted(parsed(rendered(messages))) == expected


def parsed(rows: bytes) -> list[Sample]:
    samples = []
    for line in rows.decode().splitlines():
        at_ms, household, power_w, socket, temperature_c, thermometer = line.split(",")
        if power_w:
            assert (temperature_c, thermometer) == ("", "")
            samples.append(("wattfleet_power_watts", household, socket, int(at_ms), float(power_w)))
        else:
            assert socket == ""
            name = "wattfleet_temperature_celsius"
            samples.append((name, household, thermometer, int(at_ms), float(temperature_c)))
    return samples


def homes_batch(ids: list[bytes], at_ms: list[int], power_dw: object) -> batch.PowerBatch:
    values = np.array(power_dw, np.int32)
    no_temperatures = np.empty((len(ids), 0), np.int32)
    households = np.array(ids, "S28")
    unordered = batch.PowerBatch(
        np.arange(len(ids)),
        households,
        np.ones(len(ids), np.uint32),
        np.array(at_ms, np.uint64),
        values,
        no_temperatures,
    )
    return unordered.only(senders(households, Roster()).positions)


def test_rows_of_a_series_follow_each_other_in_the_order_of_their_messages() -> None:
    ids = [b"h0123456789abcdefghij", b"h9876543210abcdefghij"]
    times = [NOW_MS + i * INTERVAL_MS for i in range(6)]
    samples = parsed(bytes(RENDERER.render(homes_batch(ids * 3, times, np.arange(12).reshape(6, 2)))))
    for household, expected in zip(ids, (times[0::2], times[1::2]), strict=True):
        for socket in ("1", "2"):
            of_series = [i for i, one in enumerate(samples) if one[1:3] == (household.decode(), socket)]
            assert of_series == list(range(of_series[0], of_series[0] + 3))
            assert [samples[i][3] for i in of_series] == expected


def test_households_that_look_alike_to_the_grouping_are_kept_apart() -> None:
    ids = [b"h0123456789abcdefghij", b"h0123456701234567890123456", b"h01234567abcdefghij01"]
    found = homes_batch(ids * 2, [NOW_MS] * 3 + [NOW_MS + INTERVAL_MS] * 3, np.arange(18).reshape(6, 3))
    expected = {
        ("wattfleet_power_watts", ids[i % 3].decode(), str(j + 1), NOW_MS + i // 3 * INTERVAL_MS, (3 * i + j) / 10)
        for i in range(6)
        for j in range(3)
    }
    samples = parsed(bytes(RENDERER.render(found)))
    assert len(samples) == len(expected)
    assert set(samples) == expected


def test_the_store_holds_exactly_what_was_rendered(victoria_metrics: VictoriaMetrics) -> None:
    sent: dict[tuple[str, int], HomeReadings] = {}

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(st.lists(st.tuples(households, homes), min_size=1, max_size=4))
    def send(messages: list[tuple[HouseholdId, HomeReadings]]) -> None:
        fresh = []
        for household, readings in messages:
            if (household, readings.interval_start_ms) not in sent:
                sent[household, readings.interval_start_ms] = readings
                fresh.append((household, readings))
        insert(victoria_metrics, rendered(fresh))

    send()
    expected = {s for (household, _), readings in sent.items() for s in samples_of(household, readings)}
    ids = "|".join({household for household, _ in sent})
    stored = {
        (series.labels["__name__"], series.labels["household"], _only_number(series.labels), at_ms, value)
        for series in victoria_metrics.export(f'{{household=~"{ids}"}}')
        for at_ms, value in zip(series.at_ms, series.values, strict=True)
    }
    assert (stored - expected, expected - stored) == (set(), set())


def insert(store: VictoriaMetrics, body: bytes) -> None:
    async def send() -> None:
        async with httpx.AsyncClient() as http:
            await VictoriaMetricsStore(http, store.url).insert_rows([memoryview(body)])

    asyncio.run(send())


def test_a_large_batch_is_stored_whole(victoria_metrics: VictoriaMetrics) -> None:
    """Two samples each of 24,000 new series, far more than the store takes at once from a request."""
    households, sockets = 800, 30
    ids = [mint_household_id().encode() for _ in range(households)]
    power_dw = np.random.default_rng(3).integers(-MAX_POWER_W * 10, MAX_POWER_W * 10 + 1, (2 * households, sockets))
    power_dw[::7, 5] = MISSING
    times = [NOW_MS] * households + [NOW_MS + INTERVAL_MS] * households
    insert(victoria_metrics, bytes(RENDERER.render(homes_batch(ids * 2, times, power_dw))))
    expected = {
        (household.decode(), str(j + 1), at_ms, value / 10)
        for household, at_ms, values in zip(ids * 2, times, power_dw.tolist(), strict=True)
        for j, value in enumerate(values)
        if value != MISSING
    }
    ours = {household.decode() for household in ids}
    stored = [
        (series.labels["household"], series.labels["socket"], at_ms, value)
        for series in victoria_metrics.export("wattfleet_power_watts")
        if series.labels["household"] in ours
        for at_ms, value in zip(series.at_ms, series.values, strict=True)
    ]
    assert len(stored) == len(expected)
    assert set(stored) == expected


def _only_number(labels: object) -> str:
    assert isinstance(labels, dict)
    (number,) = labels.keys() - {"__name__", "household"}
    assert number in ("socket", "thermometer")
    return str(labels[number])


def test_every_plausible_value_is_written_exactly() -> None:
    every = np.arange(-MAX_POWER_W * 10, MAX_POWER_W * 10 + 1, dtype=np.int32)
    ids = [mint_household_id().encode()] * len(every)
    found = homes_batch(ids, [60_000] * len(every), every.reshape(-1, 1))
    values = [float(line.split(b",")[2]) for line in bytes(RENDERER.render(found)).splitlines()]
    assert values == [deciwatts / 10 for deciwatts in every.tolist()]


def test_a_home_without_a_single_reading_has_no_row() -> None:
    assert rendered([(mint_household_id(), HomeReadings(1, 60_000, (None, None), (None,)))]) == b""


@pytest.mark.parametrize("power_dw", [MAX_POWER_W * 10 + 1, -MAX_POWER_W * 10 - 1, 2**31 - 1, MISSING + 1])
def test_an_unchecked_value_is_an_error_and_never_another_value(power_dw: int) -> None:
    with pytest.raises(IndexError):
        RENDERER.render(homes_batch([b"h0123456789abcdefghij"], [60_000], [[power_dw]]))


@pytest.mark.parametrize("max_power_w", [1, 999, 100_000])
def test_the_highest_power_may_be_any(max_power_w: int) -> None:
    extremes = [-max_power_w * 10, -1, 0, max_power_w * 10]
    rows = Renderer(max_power_w).render(homes_batch([b"h0123456789abcdefghij"], [60_000], [extremes]))
    assert {int(socket): value for _, _, socket, _, value in parsed(bytes(rows))} == {
        socket: dw / 10 for socket, dw in enumerate(extremes, 1)
    }
