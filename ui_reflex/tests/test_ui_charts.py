"""The chart's pure functions: nothing invented, nothing lost, times in the household's zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_ui import charts
from wattfleet_ui.format import local
from wattfleet_ui.gateway import Range, SocketRange

START_MS = 1_790_000_100_000
ZONES = ["Europe/London", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]

powers = st.one_of(st.none(), st.floats(0, 20_000))


@st.composite
def ranges(draw: st.DrawFn, most_sockets: int = 14) -> Range:
    """Any range of up to three hours' quarters, with gaps."""
    buckets = draw(st.integers(0, 12))
    sockets = [
        SocketRange(
            number=number,
            name=f"Socket {number}",
            mean_power_w=(column := draw(st.lists(powers, min_size=buckets, max_size=buckets))),
            measured=[0.0 if power is None else draw(st.sampled_from([0.2, 1.0])) for power in column],
        )
        for number in range(1, draw(st.integers(0, most_sockets)) + 1)
    ]
    return Range(step_s=900, start_ms=[START_MS + i * 900_000 for i in range(buckets)], sockets=sockets)


def range_of(*columns: list[float | None], step_s: int = 900, start_ms: int = START_MS) -> Range:
    sockets = [
        SocketRange(
            number=number,
            name=f"Socket {number}",
            mean_power_w=column,
            measured=[0.0 if power is None else 1.0 for power in column],
        )
        for number, column in enumerate(columns, start=1)
    ]
    marks = [start_ms + i * step_s * 1000 for i in range(len(columns[0]))]
    return Range(step_s=step_s, start_ms=marks, sockets=sockets)


@given(ranges())
def test_a_bucket_without_readings_is_a_gap_in_every_band(answer: Range) -> None:
    chart = charts.stacked_power(answer, ZoneInfo("Europe/London"))
    assert len(chart.rows) == len(answer.start_ms)
    for i, row in enumerate(chart.rows):
        known = [socket.mean_power_w[i] for socket in answer.sockets if socket.mean_power_w[i] is not None]
        drawn = [row[band.key] for band in chart.bands if row[band.key] is not None]
        assert bool(known) == bool(drawn)
        assert sum(drawn) == pytest.approx(sum(known), abs=0.05 * (len(answer.sockets) + 1))


@given(ranges())
def test_never_more_bands_than_an_eye_tells_apart_and_never_a_socket_without_readings(answer: Range) -> None:
    chart = charts.stacked_power(answer, ZoneInfo("Europe/London"))
    assert len(chart.bands) <= charts.MOST_BANDS
    assert all(any(row[band.key] is not None for row in chart.rows) for band in chart.bands)


def test_the_smallest_of_many_sockets_are_drawn_as_others_and_keep_their_sum() -> None:
    chart = charts.stacked_power(range_of(*[[float(watts)] for watts in range(1, 14)]), ZoneInfo("UTC"))
    assert chart.bands[-1].name == "4 others"
    assert chart.rows[0]["others"] == 1 + 2 + 3 + 4


@given(ranges())
def test_energy_counts_only_what_was_measured(answer: Range) -> None:
    for socket in answer.sockets:
        energy = charts.energy_wh(answer, socket, 0, 2 * START_MS)
        if all(power is None for power in socket.mean_power_w):
            assert energy is None
        else:
            weights = zip(socket.mean_power_w, socket.measured, strict=True)
            assert energy == pytest.approx(sum((power or 0) * share for power, share in weights) / 4)


@given(ranges())
def test_no_total_pretends_a_missing_socket_used_nothing(answer: Range) -> None:
    heard = [socket for socket in answer.sockets if any(power is not None for power in socket.mean_power_w)]
    for i, total in enumerate(charts.drawn_w(answer)):
        assert (total is None) == any(socket.mean_power_w[i] is None for socket in heard)


def test_what_the_sun_gives_back_is_not_taken_from_what_the_home_draws() -> None:
    assert charts.drawn_w(range_of([-1800.0, 0.0], [46.0, 46.0], [5.0, 7.0])) == [51.0, 53.0]


@given(st.lists(st.floats(0, 20_000), min_size=24, max_size=96))
def test_always_on_is_a_quiet_moment_that_really_was(totals: list[float]) -> None:
    always_on = charts.always_on_w(totals)
    assert always_on in totals
    assert always_on is not None
    assert sum(total < always_on for total in totals) <= 0.05 * len(totals)


def test_too_little_data_makes_no_claim_about_always() -> None:
    assert charts.always_on_w([100.0] * 23 + [None] * 70) is None


@given(st.sampled_from(ZONES), st.integers(0, 365 * 96))
def test_a_day_is_marked_every_three_hours_of_the_households_clock(zone_name: str, quarter: int) -> None:
    zone = ZoneInfo(zone_name)
    start_ms = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000) + quarter * 900_000
    ticks = charts.time_ticks(range_of([1.0] * 96, start_ms=start_ms), zone)
    assert 7 <= len(ticks) <= 10
    for tick in ticks:
        at = local(tick.at_ms, zone)
        assert start_ms <= tick.at_ms <= start_ms + 24 * 3_600_000
        # Where the clocks change by half an hour, so does the grid of full hours.
        assert at.minute == 0
        assert at.hour % 3 == 0
        assert tick.label == f"{at:%H:%M}"


@given(st.sampled_from(ZONES), st.integers(0, 365))
def test_longer_spans_are_marked_at_local_midnights_without_crowding(zone_name: str, day: int) -> None:
    zone = ZoneInfo(zone_name)
    start = datetime(2026, 1, 1, 7, tzinfo=UTC) + timedelta(days=day)
    start_ms = int(start.timestamp() * 1000)
    ticks = charts.time_ticks(range_of([1.0] * 180, step_s=14_400, start_ms=start_ms), zone)
    assert 8 <= len(ticks) <= 10
    assert {local(tick.at_ms, zone).hour for tick in ticks} == {0}


def test_a_point_stands_in_the_middle_of_its_bucket_and_names_its_span() -> None:
    start = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 15 minutes before London's clocks go back
    answer = range_of([5.0, 6.0], start_ms=int(start.timestamp() * 1000))
    rows = charts.stacked_power(answer, ZoneInfo("Europe/London")).rows
    assert rows[0]["at"] == answer.start_ms[0] + 450_000
    assert rows[0]["label"] == "Sun 25 Oct, 01:45–01:00"
    assert rows[1]["label"] == "Sun 25 Oct, 01:00–01:15"


@given(ranges(), st.integers(-1, 13))
def test_cutting_a_range_keeps_whole_buckets(answer: Range, index: int) -> None:
    start = datetime.fromtimestamp((START_MS + index * 900_000) / 1000, UTC)
    cut = charts.since(answer, start)
    assert cut.start_ms == [at for at in answer.start_ms if at >= START_MS + index * 900_000]
    assert all(len(socket.measured) == len(socket.mean_power_w) == len(cut.start_ms) for socket in cut.sockets)


def test_a_socket_that_never_was_heard_of_does_not_count_as_missing() -> None:
    answer = range_of([1.0, None], [None, None])
    assert [share for share, _ in charts.measured_shares(answer, {1})] == [0.5]
    assert [share for share, _ in charts.measured_shares(answer, {1, 2})] == [0.5, 0.0]
    assert charts.measured_shares(answer, set()) == []
    assert charts.measured_shares(range_of([]), {1}) == []
