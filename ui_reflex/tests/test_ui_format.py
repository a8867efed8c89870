"""Numbers and times as text."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_ui.format import DASH, kilowatt_hours, local, percent, seen, watts


@pytest.mark.parametrize(
    ("energy_wh", "text"),
    [(None, DASH), (0, "0.00"), (-0.4, "0.00"), (42, "0.04"), (9_994, "9.99"), (9_996, "10.0"), (28_140, "28.1"),
     (999_960, "1,000"), (1_234_567, "1,235")],
)  # fmt: skip
def test_energy_has_the_digits_that_matter(energy_wh: float | None, text: str) -> None:
    assert kilowatt_hours(energy_wh) == text


@given(st.floats(0, 1e7))
def test_energy_is_never_off_by_more_than_half_of_its_last_digit(energy_wh: float) -> None:
    shown = float(kilowatt_hours(energy_wh).replace(",", ""))
    assert abs(shown - energy_wh / 1000) <= (0.0051 if shown < 10 else 0.051 if shown < 1000 else 0.51)


@pytest.mark.parametrize(("power_w", "text"), [(None, DASH), (-0.2, "0"), (12.3, "12"), (2207.6, "2,208")])
def test_power_is_whole_watts_and_a_missing_one_is_a_dash(power_w: float | None, text: str) -> None:
    assert watts(power_w) == text


@given(st.floats(0, 1))
def test_only_all_is_100_percent_and_only_nothing_is_0(fraction: float) -> None:
    assert (percent(fraction) == "100 %") == (fraction == 1)
    assert (percent(fraction) == "0 %") == (fraction == 0)


def test_when_something_was_seen_is_told_by_the_households_day() -> None:
    auckland = ZoneInfo("Pacific/Auckland")
    now = datetime(2026, 3, 1, 0, 30, tzinfo=auckland)
    told = [seen(int((now - timedelta(hours=hours)).timestamp() * 1000), now) for hours in (0, 1, 25, 24 * 90)]
    assert told == ["today, 00:30", "yesterday, 23:30", "27 Feb, 23:30", "1 Dec 2025, 00:30"]
    assert seen(None, now) == "none in 24 h"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["Europe/London", "Asia/Kathmandu"]))
def test_a_local_time_is_the_same_moment(at: datetime, zone: str) -> None:
    at_ms = int(at.replace(tzinfo=UTC).timestamp() * 1000)
    assert abs(local(at_ms, ZoneInfo(zone)).timestamp() * 1000 - at_ms) < 1
