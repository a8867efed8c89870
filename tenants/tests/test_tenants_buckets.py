"""Buckets of local time: contiguous, nothing left out, each local date once, whatever clocks do."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from unittest.mock import patch
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.ports import BadRequest, BucketRun
from wattfleet_tenants.reader import buckets
from wattfleet_tenants.reader.buckets import (
    MAX_BUCKETS,
    MOST_PER_QUERY,
    Period,
    edges_by_period,
    edges_by_step,
    runs,
    start_of_date,
)

HOUR_MS = 3_600_000
ODD_ZONES = (
    "Europe/Paris", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu",
    "America/Toronto", "Africa/Cairo", "Asia/Tehran", "Pacific/Kwajalein", "America/Havana", "Africa/Monrovia",
    "Antarctica/Troll", "Europe/Dublin", "America/Asuncion", "Asia/Gaza",
    "Etc/UTC", "Etc/GMT-14", "America/Scoresbysund",
)  # fmt: skip

zones = st.one_of(st.sampled_from(ODD_ZONES), st.sampled_from(sorted(available_timezones()))).map(ZoneInfo)
dates = st.dates(date(1970, 1, 2), date(2060, 1, 1))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)


def hours(edges: list[int]) -> list[float]:
    return [(after - before) / HOUR_MS for before, after in pairwise(edges)]


@given(dates, st.integers(1, 120), zones, st.sampled_from(["hour", "day", "month"]))
def test_buckets_follow_on_each_other_and_cover_exactly_the_dates(
    start: date, days: int, zone: ZoneInfo, by: Period
) -> None:
    end = start + timedelta(days=days)
    if start_of_date(start, zone) == start_of_date(end, zone):
        return  # a date that does not exist there
    edges = edges_by_period(start, end, by, zone)
    assert edges == sorted(set(edges))
    assert (edges[0], edges[-1]) == (start_of_date(start, zone) * 1000, start_of_date(end, zone) * 1000)
    if by == "hour":
        assert all(0 < length <= 1 for length in hours(edges))


@given(dates, st.integers(1, 400), zones)
def test_each_local_date_that_exists_has_one_bucket(start: date, days: int, zone: ZoneInfo) -> None:
    end = start + timedelta(days=days)
    if start_of_date(start, zone) == start_of_date(end, zone):
        return
    begun = [local(edge, zone).date() for edge in edges_by_period(start, end, "day", zone)[:-1]]
    asked = [start + timedelta(days=i) for i in range(days)]
    skipped = [day for day in asked if start_of_date(day, zone) == start_of_date(day + timedelta(days=1), zone)]
    assert begun == [day for day in asked if day not in skipped]
    assert len(skipped) <= 1


@given(dates, zones)
def test_a_date_begins_when_its_clocks_do(day: date, zone: ZoneInfo) -> None:
    begins = start_of_date(day, zone)
    assert local(begins * 1000, zone).date() >= day
    assert local((begins - 1) * 1000, zone).date() < day


@pytest.mark.parametrize(
    ("zone", "day", "length_h"),
    [
        ("Europe/Paris", date(2026, 3, 29), 23),
        ("Europe/Paris", date(2026, 10, 25), 25),
        ("Europe/Paris", date(2026, 11, 21), 24),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Sao_Paulo", date(2018, 2, 17), 25),
        ("Pacific/Apia", date(2011, 12, 29), 24),
    ],
)
def test_a_day_is_as_long_as_it_was(zone: str, day: date, length_h: float) -> None:
    found = ZoneInfo(zone)
    edges = edges_by_period(day, day + timedelta(days=1), "day", found)
    assert hours(edges) == [length_h]
    assert sum(hours(edges_by_period(day, day + timedelta(days=1), "hour", found))) == length_h


def test_samoa_skipped_a_day() -> None:
    edges = edges_by_period(date(2011, 12, 28), date(2012, 1, 2), "day", ZoneInfo("Pacific/Apia"))
    assert hours(edges) == [24] * 4
    with pytest.raises(BadRequest, match="before"):
        edges_by_period(date(2011, 12, 30), date(2011, 12, 31), "day", ZoneInfo("Pacific/Apia"))


def test_clocks_that_jump_half_an_hour_before_midnight_begin_the_date_there() -> None:
    toronto = ZoneInfo("America/Toronto")  # 31 March 1919: from 23:30 to 00:30
    assert local(start_of_date(date(1919, 3, 31), toronto) * 1000, toronto).strftime("%d %H:%M") == "31 00:30"


def test_months_are_cut_where_the_range_is() -> None:
    edges = edges_by_period(date(2026, 1, 15), date(2026, 4, 2), "month", ZoneInfo("Etc/UTC"))
    assert [length / 24 for length in hours(edges)] == [17, 28, 31, 1]


@given(st.lists(st.sampled_from([60_000, HOUR_MS, 24 * HOUR_MS]), min_size=1, max_size=40), st.integers(0, 10**12))
def test_runs_are_the_same_buckets_in_fewer_questions(lengths: list[int], start_ms: int) -> None:
    most = 7
    edges = [start_ms]
    for length in lengths:
        edges.append(edges[-1] + length)
    with patch.object(buckets, "MOST_PER_QUERY", most):
        found = list(runs(edges))
    again = [run.first_start_ms + i * run.length_ms for run in found for i in range(run.count)]
    assert again == edges[:-1]
    assert all(one.length_ms != other.length_ms or one.count == most for one, other in pairwise(found))
    assert all(one.count <= most for one in found)


def test_a_year_of_days_is_three_questions() -> None:
    edges = edges_by_period(date(2026, 1, 1), date(2027, 1, 1), "day", ZoneInfo("Europe/Paris"))
    assert [run.count for run in runs(edges)] == [87, 1, 209, 1, 67]


@given(st.integers(0, 10**12), st.integers(1, 10**8), st.integers(1, 500).map(lambda minutes: minutes * 60))
def test_steps_cover_the_range(start_ms: int, length_ms: int, step_s: int) -> None:
    edges = edges_by_step(start_ms, start_ms + length_ms, step_s)
    assert (edges[0], edges[-1]) == (start_ms, start_ms + length_ms)
    assert all(0 < after - before <= step_s * 1000 for before, after in pairwise(edges))


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "step_s", "says"),
    [
        (60_000, 60_000, 60, "before end"),
        (10**18, 10**18 + 60_000, 60, "2199"),
        (-60_000, 60_000, 60, "1970"),
        (0, 60_000, 59, "multiple of 60"),
        (0, 60_000, 0, "multiple of 60"),
        (0, 60_000, -60, "multiple of 60"),
        (0, (MAX_BUCKETS + 1) * 60_000, 60, "points"),
        (0, 101 * 366 * 86_400_000, 366 * 86_400, "100 years"),
    ],
)
def test_a_range_that_is_none_is_refused(start_ms: int, end_ms: int, step_s: int, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        edges_by_step(start_ms, end_ms, step_s)


@pytest.mark.parametrize(
    ("start", "end", "by", "says"),
    [
        (date(2026, 1, 2), date(2026, 1, 1), "day", "before end"),
        (date(1969, 1, 2), date(1970, 3, 1), "day", "1970"),
        (date(1, 1, 1), date(1, 1, 2), "day", "1970"),
        (date(2020, 1, 1), date(2024, 1, 1), "hour", "buckets"),
        (date(1971, 1, 1), date(2071, 12, 31), "month", "100 years"),
        (date(9999, 12, 1), date(9999, 12, 31), "month", "2199"),
    ],
)
def test_dates_that_are_no_range_are_refused(start: date, end: date, by: Period, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        edges_by_period(start, end, by, ZoneInfo("Europe/Paris"))


def test_as_many_buckets_as_allowed_are_allowed_and_not_asked_for_all_at_once() -> None:
    found = list(runs(edges_by_step(0, MAX_BUCKETS * 60_000, 60)))
    assert found == [
        BucketRun(first * 60_000, 60_000, MOST_PER_QUERY) for first in range(0, MAX_BUCKETS, MOST_PER_QUERY)
    ]
