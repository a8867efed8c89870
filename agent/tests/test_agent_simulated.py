from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wattfleet_agent.simulated.home import HOMES, SimulatedHome, sockets_of
from wattfleet_tenants.reading import INTERVAL_MS

NOVEMBER_MS = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp() * 1000)  # a Monday
JUNE_MS = int(datetime(2026, 6, 15, tzinfo=UTC).timestamp() * 1000)
SHARED = {name: SimulatedHome(name) for name in HOMES}
homes = st.sampled_from(sorted(HOMES))
# Within four days, so that the few days a home keeps in memory are used and dropped.
times_ms = st.integers(NOVEMBER_MS, NOVEMBER_MS + 4 * 24 * 3_600_000)


def day_of_socket(home: str, socket: str, start_ms: int) -> list[float | None]:
    index = [each.name for each in sockets_of(home)].index(socket)
    return [SHARED[home].minute(start_ms + i * INTERVAL_MS).power_w[index] for i in range(1440)]


def test_the_family_has_its_sockets_in_the_agreed_order() -> None:
    names = [socket.name for socket in sockets_of("family")]
    assert names == ["Heat pump", "EV charger", "Kitchen", "Laundry", "Home office", "Fridge"]


def test_the_flat_has_four_or_five_sockets_and_the_farm_at_least_eight() -> None:
    assert len(HOMES["flat"]) in (4, 5)
    assert len(HOMES["farm"]) >= 8


# A day of a home takes 0.1 s to compute.
@settings(max_examples=40)
@given(home=homes, at_ms=times_ms)
def test_a_minutes_mean_is_exactly_the_mean_of_its_sixty_seconds(home: str, at_ms: int) -> None:
    start_ms = at_ms - at_ms % INTERVAL_MS
    seconds = [SHARED[home].second(start_ms + second * 1000).power_w for second in range(60)]
    for socket, mean in enumerate(SHARED[home].minute(start_ms).power_w):
        values = [second[socket] for second in seconds]
        if mean is None:
            assert values == [None] * 60
        else:
            assert sum(round(value * 10) for value in values if value is not None) == round(mean * 10) * 60


@settings(max_examples=8)
@given(home=homes, at_ms=times_ms)
def test_a_restarted_home_agrees_with_what_was_sent(home: str, at_ms: int) -> None:
    at_ms -= at_ms % INTERVAL_MS
    assert SimulatedHome(home).minute(at_ms) == SHARED[home].minute(at_ms)


def test_seconds_differ_within_a_minute() -> None:
    assert len({SHARED["family"].second(NOVEMBER_MS + second * 1000) for second in range(60)}) > 30


def test_the_fridge_goes_on_and_off() -> None:
    powers = [power for power in day_of_socket("family", "Fridge", NOVEMBER_MS) if power is not None]
    starts = sum(1 for before, after in pairwise(powers) if before < 5 < after)
    assert 8 <= starts <= 40
    assert 0.2 < sum(power > 5 for power in powers) / 1440 < 0.5


def test_the_car_is_charged_at_night_only() -> None:
    for day in range(8):
        powers = day_of_socket("family", "EV charger", NOVEMBER_MS + day * 24 * 3_600_000)
        assert all(power is not None and power < 10 for power in powers[7 * 60 : 20 * 60])
    nights = [max(filter(None, day_of_socket("family", "EV charger", NOVEMBER_MS + d * 86_400_000))) for d in range(8)]
    assert 7_000 < max(nights) < 8_000


def test_the_home_office_rests_on_sunday() -> None:
    monday = [power or 0 for power in day_of_socket("family", "Home office", NOVEMBER_MS)]
    sunday = [power or 0 for power in day_of_socket("family", "Home office", NOVEMBER_MS + 6 * 86_400_000)]
    assert max(sunday) < 15
    assert max(monday) > 80


def test_heating_is_a_matter_of_the_cold_months() -> None:
    winter, summer = (
        sum(power or 0 for power in day_of_socket("family", "Heat pump", at)) for at in (NOVEMBER_MS, JUNE_MS)
    )
    assert winter > 3 * summer


def test_the_sun_feeds_in_by_day_and_nothing_at_night() -> None:
    powers = [power or 0 for power in day_of_socket("farm", "Solar inverter", JUNE_MS)]
    assert min(powers[10 * 60 : 14 * 60]) < -500
    assert min(powers[:120]) >= 0


def test_the_outdoor_socket_is_sometimes_offline_and_mostly_not() -> None:
    missing = sum(day_of_socket("farm", "Outdoor socket", NOVEMBER_MS + d * 86_400_000).count(None) for d in range(7))
    assert 0 < missing < 7 * 1440 / 3


@given(name=homes, count=st.integers(1, 64))
def test_a_home_can_have_any_number_of_sockets_with_names_of_their_own(name: str, count: int) -> None:
    names = [socket.name for socket in sockets_of(name, count)]
    assert len(set(names)) == len(names) == count
    assert names[: len(HOMES[name])] == [socket.name for socket in HOMES[name]][:count]


@pytest.mark.parametrize("count", [0, 65, -1])
def test_a_home_cannot_have_no_sockets_or_more_than_the_wire_carries(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        sockets_of("family", count)


def test_more_sockets_do_not_change_those_that_were_there() -> None:
    few, many = SimulatedHome("flat").minute(NOVEMBER_MS), SimulatedHome("flat", 12).minute(NOVEMBER_MS)
    assert many.power_w[:5] == few.power_w
