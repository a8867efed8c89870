"""Bundles: what an ingest packs is what a writer reads, message by message, and anything else is no bundle."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.testing.builders import bundle_of
from wattfleet_tenants.wire.bundle import HOUSEHOLD_BYTES, Bundle, decode, encode, household_column
from wattfleet_tenants.wire.bundle_pb2 import PackedReadings
from wattfleet_tenants.wire.messages import Messages

tokens = st.sampled_from([b"h0123456789abcdefghij", b"hneighbour0123456", b"h" + b"z" * 26])
sent = st.lists(st.tuples(tokens, st.binary(max_size=200)), max_size=30)


@given(sent, sent)
def test_a_writer_reads_of_every_message_what_was_packed(
    first: list[tuple[bytes, bytes]], second: list[tuple[bytes, bytes]]
) -> None:
    bundles = [decode(encode(bundle_of([home for home, _ in each], [m for _, m in each]))) for each in (first, second)]
    assert [bundle.each() for bundle in bundles] == [first, second]
    assert [len(bundle) for bundle in bundles] == [len(first), len(second)]
    messages = Messages(bundles)
    assert list(zip(messages.households.tolist(), map(messages.__getitem__, range(len(messages))), strict=True)) == [
        *first,
        *second,
    ]


@given(sent)
def test_a_bundle_of_an_older_ingest_is_read_as_well(each: list[tuple[bytes, bytes]]) -> None:
    older = PackedReadings(version=1, run="r", number=7, messages_before=9)
    older.household.extend(household for household, _ in each)
    older.message.extend(message for _, message in each)
    bundle = decode(older.SerializeToString())
    assert (bundle.run, bundle.number, bundle.messages_before, bundle.each()) == ("r", 7, 9, each)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_whole_bundle_or_refused(payload: bytes) -> None:
    try:
        bundle = decode(payload)
    except ValueError:
        return
    assert len(bundle.each()) == len(bundle)


GOOD = bundle_of([b"h0123456789abcdefghij"] * 2, [b"one", b"three"])


@pytest.mark.parametrize(
    ("reason", "broken"),
    [
        ("incomplete", Bundle("", 1, 0, GOOD.households, GOOD.lengths, GOOD.joined)),
        ("incomplete", Bundle("r", 0, 0, GOOD.households, GOOD.lengths, GOOD.joined)),
        ("incomplete", Bundle("r", 1, 0, GOOD.households[:-1], GOOD.lengths, GOOD.joined)),
        ("incomplete", Bundle("r", 1, 0, GOOD.households, GOOD.lengths[:-1], GOOD.joined)),
        ("incomplete", Bundle("r", 1, 0, GOOD.households, GOOD.lengths, GOOD.joined + b"!")),
        ("incomplete", Bundle("r", 1, 0, GOOD.households, pack("<2I", 2**32 - 1, 9), GOOD.joined)),
        ("incomplete", Bundle("r", 1, 0, b"", GOOD.lengths, GOOD.joined)),
    ],
)
def test_columns_that_do_not_fit_together_are_no_bundle(reason: str, broken: Bundle) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(encode(broken))


def test_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown version 3"):
        decode(PackedReadings(version=3, run="r", number=1).SerializeToString())


@pytest.mark.parametrize("token", [b"h0123456789abcdefghij\0", b"\0", b"h" * (HOUSEHOLD_BYTES + 1), b"h" * 4_000])
def test_a_token_that_would_become_another_in_a_fixed_width_names_nobody(token: bytes) -> None:
    assert bundle_of([token], [b""]).each() == [(b"?", b"")]
    assert len(household_column(token)) == HOUSEHOLD_BYTES
