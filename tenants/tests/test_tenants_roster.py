"""The roster of a writer: everybody who sends has one number, whatever the token looks like."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.wire.bundle import HOUSEHOLD_BYTES
from wattfleet_tenants.writer import order
from wattfleet_tenants.writer.roster import Roster, _keys

ALIKE = [b"h01234567abcdefgh%d" % i for i in range(5)]
STRANGE = [b"", b"h", b"?", b"*", b"h\xff\x00\xfe01234567", b"h" * HOUSEHOLD_BYTES, b"H0123456789abcdefghij"]
tokens = st.lists(st.sampled_from(ALIKE + STRANGE) | st.binary(max_size=HOUSEHOLD_BYTES), max_size=30)


def column(some: Sequence[bytes]) -> NDArray[np.bytes_]:
    return np.array(some, f"S{HOUSEHOLD_BYTES}")


@given(st.lists(tokens, max_size=5))
def test_everybody_has_one_number_and_keeps_it(fetches: list[list[bytes]]) -> None:
    roster = Roster()
    known: dict[bytes, int] = {}
    for fetch in map(column, fetches):
        for token, number in zip(fetch.tolist(), roster.numbers(fetch).tolist(), strict=True):
            assert known.setdefault(token, number) == number
    assert sorted(known.values()) == list(range(len(roster)))
    by_number = sorted(known, key=known.__getitem__)
    assert roster.ranks.tolist() == order.ranks(by_number).tolist()
    assert [name for name in roster.names if name] == [token.decode() for token in by_number if token in ALIKE]


def test_who_hides_behind_another_s_place_is_found() -> None:
    """Of 5,000 with four places for each in two tables, some have somebody else in both of theirs."""
    ids = [mint_household_id() for _ in range(5_000)]
    roster = Roster()
    column_of_all = column([one.encode() for one in ids])
    assert roster.numbers(column_of_all).tolist() == list(range(5_000))
    keys, own = _keys(column_of_all), np.arange(5_000)
    assert ((roster._guess(0, keys) != own) & (roster._guess(1, keys) != own)).any()
    assert roster.numbers(column_of_all[::-1]).tolist() == list(reversed(range(5_000)))
    assert roster.names == ids


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.sampled_from(ALIKE)), st.lists(st.sampled_from(ALIKE)))))
def test_who_was_accepted_is_not_asked_for_again_in_the_same_edition(
    steps: list[tuple[int, list[bytes], list[bytes]]],
) -> None:
    roster = Roster()
    accepted: dict[bytes, int] = {}
    for edition, senders, belonging in steps:
        wanted = {token for token in senders if accepted.get(token) != edition}
        asked = roster.not_accepted_in(edition, roster.numbers(column(senders)))
        assert sorted(roster.names[number] for number in asked) == sorted(token.decode() for token in wanted)
        roster.accept(edition, roster.numbers(column(belonging)).tolist())
        accepted |= dict.fromkeys(belonging, edition)
