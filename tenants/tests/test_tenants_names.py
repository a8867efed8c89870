"""Names: what is a household, a shard, a socket; where each of their messages goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants import series
from wattfleet_tenants.household import HouseholdId, mint_household_id, parse_household_id
from wattfleet_tenants.shard import ShardId, parse_shard_id
from wattfleet_tenants.socket import MAX_SOCKETS, parse_socket_number

HOUSEHOLD = HouseholdId("h0123456789abcdefghij")
SHARD = ShardId("s1")

household_ids = st.from_regex(r"h[0-9a-z]{16,26}", fullmatch=True).map(HouseholdId)
shard_ids = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True).map(ShardId)


def test_a_minted_household_id_has_the_form_of_one() -> None:
    assert parse_household_id(mint_household_id())


def test_minted_household_ids_differ() -> None:
    assert len({mint_household_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        ">",
        "h*",
        "h",
        "h0123456789abcde",
        "H0123456789abcdefghij",
        "h0123456789abcdefghij\n",
        "h0123456789.bcdefghij",
        "h" + "a" * 27,
        'h0123456789abcdef"}',
        "h０１２３４５６７８９abcdef",
        "x0123456789abcdefghij",
    ],
)
def test_what_is_no_household_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a household id"):
        parse_household_id(text)


@given(st.text())
def test_whatever_passes_as_a_household_id_is_harmless_in_subjects_and_queries(text: str) -> None:
    try:
        household = parse_household_id(text)
    except ValueError:
        return
    assert household.isascii()
    assert household.isalnum()


@pytest.mark.parametrize("text", ["", "1s", "s.1", "s*", "S1", "s" * 17, "s1\n", "s-1"])
def test_what_is_no_shard_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a shard id"):
        parse_shard_id(text)


@pytest.mark.parametrize("number", [0, -1, MAX_SOCKETS + 1])
def test_what_is_no_socket_number_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not a socket number"):
        parse_socket_number(number)


@pytest.mark.parametrize("build", [series.power_selector, series.temperature_selector])
def test_no_query_is_built_from_what_is_no_household_id(build: object) -> None:
    with pytest.raises(ValueError, match="not a household id"):
        build('h"} or {x="')  # type: ignore[operator]


def test_a_query_names_its_household_and_window() -> None:
    assert f'household="{HOUSEHOLD}"' in series.bucket_query(HOUSEHOLD, 900_000)
    assert "[900000ms]" in series.bucket_query(HOUSEHOLD, 900_000)
