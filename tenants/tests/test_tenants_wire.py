"""The wire, one message at a time."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.home_file import HomeFile, read_home_file, write_home_file
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import HomeReadings, interval_start
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.socket import MAX_SOCKETS
from wattfleet_tenants.wire import codec

powers = st.none() | st.integers(-(2**31) + 1, 2**31 - 1).map(lambda dw: dw / 10)
readings = st.builds(
    HomeReadings,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**40),
    st.lists(powers, max_size=MAX_SOCKETS).map(tuple),
    st.lists(st.none() | st.integers(-5000, 12000).map(lambda cc: cc / 100), max_size=MAX_SOCKETS).map(tuple),
)


@given(readings)
def test_what_is_encoded_is_decoded_exactly(sent: HomeReadings) -> None:
    assert codec.decode(codec.encode(sent)) == sent


@given(st.binary(max_size=2000))
def test_any_bytes_are_decoded_or_refused_with_a_reason(message: bytes) -> None:
    assert outcome(message) in {"decoded", "oversized", "malformed", "unknown-version", "too-many-sockets"}


def outcome(message: bytes) -> str:
    try:
        codec.decode(message)
    except ValueError as refusal:
        return str(refusal)
    return "decoded"


def test_thirty_readings_with_their_sequence_number_take_138_bytes() -> None:
    assert len(codec.encode(HomeReadings(1_000_000, 1_800_000_000_000, (1234.5,) * 30))) == 138


@pytest.mark.parametrize("power_w", [float(2**31), -214748364.8])
def test_a_value_that_does_not_fit_is_refused_before_it_is_sent(power_w: float) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        codec.encode(HomeReadings(1, 0, (power_w,)))


def test_too_many_sockets_are_refused_before_they_are_sent() -> None:
    with pytest.raises(ValueError, match="at most 64"):
        codec.encode(HomeReadings(1, 0, (1.0,) * 65))


@given(st.integers(0, 2**45))
def test_an_interval_starts_on_the_minute_and_holds_its_moment(at_ms: int) -> None:
    assert interval_start(at_ms) % 60_000 == 0
    assert 0 <= at_ms - interval_start(at_ms) < 60_000


def test_a_home_file_is_for_its_owner_only_and_shows_no_secret(tmp_path: Path) -> None:
    home = HomeFile(HouseholdId("h0123456789abcdefghij"), ShardId("s1"), ("nats://x:1",), "SECRET", "PEM")
    path = tmp_path / "homes" / "home.json"
    write_home_file(path, home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_home_file(path) == home
    assert "SECRET" not in repr(home)


def test_a_home_file_without_a_field_names_it(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    path.write_text(json.dumps({"household": "h0123456789abcdefghij", "shard": "s1"}))
    with pytest.raises(ValueError, match="servers"):
        read_home_file(path)
