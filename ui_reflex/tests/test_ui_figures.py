"""The overview's figures: honest comparisons, shares that add up, a line for every socket."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_ui import figures
from wattfleet_ui.figures import Spans
from wattfleet_ui.gateway import Energy, Now, Quarantined, Range, SocketEnergy, SocketNow, SocketRange

LONDON = ZoneInfo("Europe/London")
NOON = datetime(2026, 11, 21, 12, 7, 30, tzinfo=LONDON)


def energy(*by_socket: float | None) -> Energy:
    sockets = [
        SocketEnergy(number=i, name=f"Socket {i}", energy_wh=[value], measured=[0.5])
        for i, value in enumerate(by_socket, start=1)
    ]
    return Energy(by="day", time_zone="Europe/London", start_ms=[0], end_ms=[1], sockets=sockets)


def two_days(spans: Spans, yesterday_w: float | None, today_w: float | None, unmeasured: int = 0) -> Range:
    """Constant power on either day, of which the last `unmeasured` quarters of today are missing."""
    marks = [int(spans.yesterday.timestamp() * 1000)]
    while marks[-1] + 900_000 < spans.settled.timestamp() * 1000:
        marks.append(marks[-1] + 900_000)
    powers = [yesterday_w if at < spans.midnight.timestamp() * 1000 else today_w for at in marks]
    powers[len(powers) - unmeasured :] = [None] * unmeasured
    measured = [0.0 if power is None else 1.0 for power in powers]
    socket = SocketRange(number=1, name="Kettle", mean_power_w=powers, measured=measured)
    return Range(step_s=900, start_ms=marks, sockets=[socket])


@pytest.mark.parametrize(
    ("yesterday_w", "today_w", "text", "direction"),
    [(100, 112, "12 %", "up"), (100, 88, "12 %", "down"), (100, 100.2, "0 %", "same"), (50, 500, "900 %", "up")],
)
def test_today_is_compared_up_to_the_same_time(yesterday_w: float, today_w: float, text: str, direction: str) -> None:
    spans = Spans.at(NOON)
    comparison = figures.compare(two_days(spans, yesterday_w, today_w), spans)
    assert (comparison.text, comparison.direction) == (text, direction)
    assert comparison.note == "vs yesterday, until 12:00"


@pytest.mark.parametrize(
    ("yesterday_w", "today_w", "unmeasured"), [(None, 100, 0), (100, None, 0), (0, 100, 0), (100, 100, 6)]
)
def test_nothing_is_compared_that_was_not_measured(
    yesterday_w: float | None, today_w: float | None, unmeasured: int
) -> None:
    spans = Spans.at(NOON)
    assert figures.compare(two_days(spans, yesterday_w, today_w, unmeasured), spans).text == ""


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["Europe/London", "America/New_York", "Asia/Kathmandu"]),
)
def test_spans_lie_on_the_households_days_on_quarters_and_in_order(at: datetime, zone: str) -> None:
    spans = Spans.at(at.astimezone(ZoneInfo(zone)))
    assert (spans.midnight.hour, spans.yesterday.hour) == (0, 0)
    assert spans.settled.timestamp() % 900 == 0
    assert spans.yesterday < spans.midnight
    assert timedelta(minutes=2) <= at - spans.settled.astimezone(UTC) < timedelta(minutes=17)


@given(st.lists(st.one_of(st.none(), st.floats(0, 50_000)), max_size=20))
def test_consumers_are_the_largest_in_order_with_the_longest_bar_first(values: list[float | None]) -> None:
    lines = figures.consumers(energy(*values))
    used = sorted((value for value in values if value), reverse=True)
    assert len(lines) == min(6, len(used))
    widths = [float(line.width.rstrip("%")) for line in lines]
    assert widths == sorted(widths, reverse=True)
    if lines:
        assert widths[0] == 100


def test_today_is_unknown_rather_than_zero_when_nothing_was_measured() -> None:
    assert figures.total_wh(energy(None, None)) is None
    assert figures.total_wh(energy(None, 3.5, 0)) == 3.5


def test_every_socket_has_a_line_even_without_energy() -> None:
    sockets = [
        SocketNow(number=1, name="Kettle", power_w=12.3, at_ms=int(NOON.timestamp() * 1000), state="online"),
        SocketNow(number=9, name="Attic", power_w=None, at_ms=None, state="silent"),
    ]
    lines = figures.socket_lines(Now(power_w=12.3, at_ms=0, sockets=sockets), energy(1500.0), NOON)
    assert [(line.power, line.today, line.state, line.seen) for line in lines] == [
        ("12", "1.50", "online", "today, 12:07"),
        ("–", "–", "silent", "none in 24 h"),
    ]


def test_refused_messages_are_said_in_words_the_commonest_first() -> None:
    last_ms = int(NOON.timestamp() * 1000)
    refused = [
        Quarantined(reason="future", count=1, last_ms=last_ms - 1000),
        Quarantined(reason="a-new-reason", count=5, last_ms=last_ms),
        Quarantined(reason="over-quota", count=2, last_ms=last_ms - 1000),
    ]
    note = figures.quarantine_note(refused, LONDON, NOON)
    assert "5 × a new reason; 2 × more sockets or thermometers than this home may have; 1 × a time in the " in note
    assert note.endswith("a time in the future. Last: today, 12:07.")
    assert figures.quarantine_note([], LONDON, NOON) == ""


@pytest.mark.parametrize(("share", "starts"), [(1.0, ""), (0.999, "99 % measured"), (0.5, "50 % measured")])
def test_the_chart_says_what_is_missing(share: float, starts: str) -> None:
    note = figures.measured_note([(share, "Fridge"), (share, "Oven")])
    assert note.startswith(starts)
    assert bool(note) == (share < 1)
    assert "Fridge" not in note


def test_the_chart_names_the_socket_that_misses_most() -> None:
    note = figures.measured_note([(1.0, "Fridge"), (0.8, "Outdoor socket"), (0.99, "Oven")])
    assert note == "93 % measured; gaps are times without readings, most of all of Outdoor socket"


def test_nothing_to_measure_is_nothing_missing() -> None:
    assert figures.measured_note([]) == ""
