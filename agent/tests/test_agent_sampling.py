import math

from hypothesis import given
from hypothesis import strategies as st
from wattfleet_agent.sampling import LEAST_SAMPLES, MinuteMeans, Sampler
from wattfleet_agent.sensors import Minute, Sample, checked
from wattfleet_tenants.reading import INTERVAL_MS

START_MS = 1_790_000_040_000
powers = st.none() | st.floats(-5000, 5000)


def minute_of(samples: list[Sample], start_ms: int = START_MS) -> Minute | None:
    means = MinuteMeans()
    for second, sample in enumerate(samples):
        assert means.add(start_ms + second * 1000, sample) is None
    return means.add(start_ms + INTERVAL_MS, Sample(()))


@given(st.lists(st.tuples(powers, powers), min_size=1, max_size=60))
def test_a_socket_has_the_mean_of_its_samples_or_no_reading_at_all(rows: list[tuple[float | None, ...]]) -> None:
    ended = minute_of([Sample(row) for row in rows])
    columns = [[row[i] for row in rows if row[i] is not None] for i in range(2)]
    expected = [math.fsum(c) / len(c) if len(c) >= LEAST_SAMPLES else None for c in columns]  # type: ignore[arg-type]
    if ended is None:
        assert expected == [None, None]
        return
    assert ended.interval_start_ms == START_MS
    for got, wanted in zip(ended.power_w, expected, strict=True):
        assert (got is None) == (wanted is None)
        assert got is None or wanted is None or math.isclose(got, wanted, abs_tol=1e-6)


def test_a_minute_with_too_few_samples_is_missing() -> None:
    assert minute_of([Sample((5.0,))] * (LEAST_SAMPLES - 1)) is None
    assert minute_of([Sample((5.0,))] * LEAST_SAMPLES) == Minute(START_MS, (5.0,))


def test_thermometers_are_averaged_likewise() -> None:
    assert minute_of([Sample((1.0,), (20.0, None))] * 40) == Minute(START_MS, (1.0,), (20.0, None))


# What a clock does that is set now and then: steps of about a second, and sometimes a jump either way.
clock_steps_ms = st.lists(
    st.one_of(st.integers(900, 1100), st.integers(900, 1100), st.integers(-200_000, 200_000)), max_size=600
)


@given(clock_steps_ms)
def test_no_minute_is_handed_out_before_the_clock_has_passed_its_end(steps_ms: list[int]) -> None:
    means, at_ms = MinuteMeans(1), START_MS
    for step_ms in steps_ms:
        at_ms += step_ms
        ended = means.add(at_ms, Sample((1.0,)))
        if ended:
            assert ended.interval_start_ms % INTERVAL_MS == 0
            assert ended.interval_start_ms + INTERVAL_MS <= at_ms


@given(clock_steps_ms)
def test_a_minute_comes_twice_only_after_the_clock_went_back(steps_ms: list[int]) -> None:
    means, at_ms, latest_ms = MinuteMeans(1), START_MS, -1
    for step_ms in steps_ms:
        if (at_ms + step_ms) // INTERVAL_MS < at_ms // INTERVAL_MS:
            latest_ms = -1
        at_ms += step_ms
        if ended := means.add(at_ms, Sample((1.0,))):
            assert ended.interval_start_ms > latest_ms
            latest_ms = ended.interval_start_ms


def test_when_the_clock_goes_back_the_open_minute_is_dropped() -> None:
    means = MinuteMeans(2)
    for second in range(3):
        means.add(START_MS + INTERVAL_MS + second * 1000, Sample((9.0,)))
    means.add(START_MS, Sample((1.0,)))
    means.add(START_MS + 1000, Sample((1.0,)))
    assert means.add(START_MS + INTERVAL_MS, Sample((4.0,))) == Minute(START_MS, (1.0,))


class FailingSensor:
    """Fails at every other reading."""

    def __init__(self) -> None:
        self.calls = 0

    def read(self) -> Sample:
        self.calls += 1
        if self.calls % 2:
            raise OSError("bus error")
        return Sample((7.0, float("nan")))


def test_a_failing_sensor_costs_only_the_seconds_in_which_it_fails() -> None:
    now_s, minutes, samples, back = [START_MS / 1000], [], [], []
    sampler = Sampler(
        FailingSensor(), lambda at_ms, s: samples.append((at_ms, s)), minutes.append, back.append, lambda: now_s[0]
    )
    for _ in range(122):
        sampler.sample()
        now_s[0] += 1
    assert minutes == [Minute(START_MS, (7.0, None)), Minute(START_MS + INTERVAL_MS, (7.0, None))]
    assert len(samples) == 61
    now_s[0] -= 90
    sampler.sample()
    sampler.sample()
    assert back == [round(now_s[0] * 1000)]


def test_values_that_no_instrument_means_are_missing() -> None:
    sample = Sample((1.0, float("nan"), float("inf"), -1e300, None), (float("-inf"),))
    assert checked(sample) == Sample((1.0, None, None, None, None), (None,))
