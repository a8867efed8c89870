"""What is stored is exactly what was measured: values, labels and times, checked in a real VictoriaMetrics."""

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wattfleet_tenants.household import HOUSEHOLD_ID_PATTERN, HouseholdId, mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS, MISSING, HomeReadings
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.wire import batch, codec
from wattfleet_tenants.writer.checks import EARLIEST_MS
from wattfleet_tenants.writer.render import Renderer

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
    batches, unreadable = batch.decode([(household, codec.encode(readings)) for household, readings in messages])
    assert not unreadable
    return b"".join(RENDERER.render(found) for found in batches)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(households, homes), max_size=4))
def test_the_text_says_every_sample_once(messages: list[tuple[HouseholdId, HomeReadings]]) -> None:
    expected = sorted(sample for household, readings in messages for sample in samples_of(household, readings))
    assert sorted(parsed(rendered(messages))) == expected


def parsed(text: bytes) -> list[Sample]:
    samples = []
    for line in text.decode().splitlines():
        head, _, tail = line.partition("{")
        labels, _, numbers = tail.partition("}")
        household, number = (part.split("=")[1].strip().strip('"') for part in labels.split(","))
        value, at_ms = numbers.split()
        samples.append((head, household, number, int(at_ms), float(value)))
    return samples


def test_the_store_holds_exactly_what_was_rendered(victoria_metrics: VictoriaMetrics) -> None:
    sent: dict[tuple[str, int], HomeReadings] = {}

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], database=None, deadline=None)
    @given(st.lists(st.tuples(households, homes), min_size=1, max_size=4))
    def send(messages: list[tuple[HouseholdId, HomeReadings]]) -> None:
        fresh = []
        for household, readings in messages:
            if (household, readings.interval_start_ms) not in sent:
                sent[household, readings.interval_start_ms] = readings
                fresh.append((household, readings))
        answer = httpx.post(f"{victoria_metrics.url}/api/v1/import/prometheus", content=rendered(fresh))
        assert answer.status_code == 204

    send()
    expected = {s for (household, _), readings in sent.items() for s in samples_of(household, readings)}
    ids = "|".join({household for household, _ in sent})
    stored = {
        (series.labels["__name__"], series.labels["household"], _only_number(series.labels), at_ms, value)
        for series in victoria_metrics.export(f'{{household=~"{ids}"}}')
        for at_ms, value in zip(series.at_ms, series.values, strict=True)
    }
    assert (stored - expected, expected - stored) == (set(), set())


def _only_number(labels: object) -> str:
    assert isinstance(labels, dict)
    (number,) = labels.keys() - {"__name__", "household"}
    assert number in ("socket", "thermometer")
    return str(labels[number])


def test_every_plausible_value_is_written_exactly() -> None:
    every = np.arange(-MAX_POWER_W * 10, MAX_POWER_W * 10 + 1, dtype=np.int32)
    found = batch.PowerBatch(
        np.arange(len(every)),
        np.full(len(every), mint_household_id().encode()),
        np.ones(len(every), np.uint32),
        np.full(len(every), 60_000, np.uint64),
        every.reshape(-1, 1),
        np.empty((len(every), 0), np.int32),
    )
    values = [float(line.split()[-2]) for line in RENDERER.render(found).splitlines()]
    assert values == [deciwatts / 10 for deciwatts in every.tolist()]


def test_a_home_without_a_single_reading_has_no_line() -> None:
    assert rendered([(mint_household_id(), HomeReadings(1, 60_000, (None, None), (None,)))]) == b""


def test_an_unchecked_value_is_an_error_and_never_another_value() -> None:
    beyond = batch.PowerBatch(
        np.arange(1),
        np.array([b"h0123456789abcdefghij"]),
        np.ones(1, np.uint32),
        np.full(1, 60_000, np.uint64),
        np.array([[MAX_POWER_W * 10 + 1]], np.int32),
        np.array([[MISSING]], np.int32),
    )
    with pytest.raises(IndexError):
        RENDERER.render(beyond)
