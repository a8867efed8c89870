"""A quota on its way from the operator to those who hold a home to it: what is written is what is read."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.adapters.assignments import assigned, leaving, quota_in
from wattfleet_tenants.adapters.jetstream import households_bucket
from wattfleet_tenants.crd import Household
from wattfleet_tenants.quota import DEFAULT_QUOTA, Quota
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.wire.readings_pb2 import Readings
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.grouping import senders
from wattfleet_tenants.writer.roster import Roster
from wattfleet_tenants.writer.triage import Sorted, sort

HOMES = (b"h0123456789abcdefghij", b"h0123456789abcdefghik")
NOW_MS = 1_790_000_040_000

quotas = st.builds(Quota, backlog_days=st.integers(1, 14), sockets=st.integers(1, 64), thermometers=st.integers(0, 64))


@given(quotas)
def test_a_quota_is_read_as_it_was_written_and_a_household_that_leaves_keeps_it(quota: Quota) -> None:
    value = assigned(quota)
    assert quota_in(value) == quota_in(leaving(value)) == quota
    assert leaving(value) != value
    assert leaving(leaving(value)) == leaving(value), "it leaves once"
    assert len(leaving(value)) <= (households_bucket().max_value_size or 0)


def test_a_household_without_a_quota_costs_no_byte() -> None:
    assert assigned(DEFAULT_QUOTA) == b""
    assert quota_in(b"") == quota_in(b"leaving") == DEFAULT_QUOTA


@pytest.mark.parametrize(
    "value", [b"\xff\x00", b"{", b"[]", b'{"sockets":0}', b'{"backlogDays":15}', b'{"sockets":"all"}']
)
def test_what_is_not_understood_is_no_quota_and_said(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert quota_in(value) == DEFAULT_QUOTA
    assert "a quota is not understood" in caplog.text


def test_what_a_later_platform_adds_takes_nothing_away() -> None:
    assert quota_in(b'{"sockets":30,"relays":2}') == Quota(sockets=30)


@given(quotas, st.integers(0, 64), st.integers(0, 64))
def test_a_message_is_within_a_quota_when_both_kinds_are(quota: Quota, sockets: int, thermometers: int) -> None:
    assert quota.allows(sockets, thermometers) == (sockets <= quota.sockets and thermometers <= quota.thermometers)
    assert DEFAULT_QUOTA.allows(sockets, thermometers), "without a quota a home may have all that a message can hold"


sent = st.tuples(st.sampled_from(HOMES), st.integers(1, 4), st.integers(0, 2), st.sampled_from([1, 1, 40]))
small = st.builds(Quota, sockets=st.integers(1, 4), thermometers=st.integers(0, 2))


@given(st.lists(sent, min_size=1, max_size=6), st.dictionaries(st.sampled_from(HOMES), small))
def test_of_any_mix_exactly_those_messages_are_refused_that_their_senders_may_not_send(
    sent: list[tuple[bytes, int, int, int]], special: dict[bytes, Quota]
) -> None:
    each = [(home, sockets, thermometers) for home, sockets, thermometers, times in sent for _ in range(times)]
    messages = [of(power_dw=[1] * sockets, temperature_cc=[1] * thermometers) for _, sockets, thermometers in each]
    outcome = sort_of([home for home, *_ in each], messages, set(), special)
    refused = {one.position: one.reason for one in outcome.objections}
    over = [i for i, (home, *values) in enumerate(each) if not special.get(home, DEFAULT_QUOTA).allows(*values)]
    assert refused == dict.fromkeys(over, "over-quota")
    assert sum(map(len, outcome.good)) == len(each) - len(over)


def test_what_is_wrong_in_itself_is_called_so_and_a_stranger_a_stranger() -> None:
    few, home = {one: Quota(sockets=1) for one in HOMES}, HOMES[0]
    messages = [of(power_dw=[1, 250_001]), of(power_dw=[1] * 65), of(power_dw=[1, 1]), of(power_dw=[1, 1])]
    outcome = sort_of([home, home, home, HOMES[1]], messages, {HOMES[1]}, few)
    reasons = [one.reason for one in sorted(outcome.objections, key=lambda one: one.position)]
    assert reasons == ["implausible-power", "too-many-sockets", "over-quota", "foreign"]


def sort_of(homes: list[bytes], messages: list[bytes], foreign: set[bytes], quotas: dict[bytes, Quota]) -> Sorted:
    arrived = Messages.of(homes, messages)
    roster = Roster()
    sent_by = senders(arrived.households, roster)
    strangers = roster.numbers(np.array(sorted(foreign), "S28")).tolist()
    return sort(arrived, sent_by, strangers, quotas, Limits(), NOW_MS)


def of(**fields: object) -> bytes:
    known = {"version": 1, "sequence": 1, "interval_start_ms": NOW_MS - INTERVAL_MS}
    return Readings(**{**known, **fields}).SerializeToString()  # type: ignore[arg-type]


def test_a_spec_s_quota_is_in_days_and_numbers_of_things() -> None:
    fields = {"metadata": {"name": "h0123456789abcdefghij"}, "spec": {"quota": {"backlogDays": 2, "sockets": 30}}}
    quota = Household.model_validate(fields).spec.quota
    assert (quota.backlog_messages, quota.sockets, quota.thermometers) == (2_880, 30, 64)
