"""Which readings are believed, and the first reason why one is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.wire import batch
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.wire.readings_pb2 import Readings
from wattfleet_tenants.writer.checks import EARLIEST_MS, REASONS, Limits, first_objections

HOME = b"h0123456789abcdefghij"
NOW_MS = 1_790_000_040_000
YEAR_DAYS = Limits(max_power_w=1_000, retention_days=365)
DAY_MS = 86_400_000
GOOD = {"version": 1, "sequence": 1, "interval_start_ms": NOW_MS, "power_dw": [10_000, -10_000, MISSING]}


def objections(*messages: dict[str, object], limits: Limits = YEAR_DAYS) -> list[str | None]:
    wire = [Readings(**{"version": 1, **message}).SerializeToString() for message in messages]  # type: ignore[arg-type]
    batches, unreadable = batch.decode(Messages.of([HOME] * len(wire), wire))
    assert not unreadable
    found: dict[int, str | None] = {}
    for part in batches:
        for position, index in zip(part.positions, first_objections(part, limits, NOW_MS), strict=True):
            found[int(position)] = None if index < 0 else REASONS[index]
    return [found[i] for i in range(len(messages))]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"sequence": 0}, "no-sequence"),
        ({"power_dw": []}, "empty"),
        ({"power_dw": [], "temperature_cc": [2000]}, None),
        ({"interval_start_ms": NOW_MS + 1}, "unaligned"),
        ({"interval_start_ms": NOW_MS + 5 * 60_000}, None),
        ({"interval_start_ms": NOW_MS + 6 * 60_000}, "future"),
        ({"interval_start_ms": (2**64 - 1) // 60_000 * 60_000}, "future"),
        ({"interval_start_ms": NOW_MS - 364 * DAY_MS}, None),
        ({"interval_start_ms": NOW_MS - 364 * DAY_MS - 60_000}, "too-old"),
        ({"interval_start_ms": 0}, "too-old"),
        ({"power_dw": [10_001]}, "implausible-power"),
        ({"power_dw": [0, -10_001]}, "implausible-power"),
        ({"power_dw": [2**31 - 1]}, "implausible-power"),
        ({"power_dw": [MISSING + 1]}, "implausible-power"),
        ({"temperature_cc": [25_000, -9_000, MISSING]}, None),
        ({"temperature_cc": [25_001]}, "implausible-temperature"),
        ({"temperature_cc": [-9_001]}, "implausible-temperature"),
        ({"sequence": 0, "power_dw": [10_001]}, "no-sequence"),
    ],
)
def test_a_reading_is_believed_or_refused_for_a_stable_reason(change: dict[str, object], reason: str | None) -> None:
    assert objections({**GOOD, **change}) == [reason]


def test_one_bad_message_leaves_its_neighbours_alone() -> None:
    messages = [GOOD] * 10 + [{**GOOD, "power_dw": [1, 2, 99_999]}] + [GOOD] * 10
    assert objections(*messages) == [None] * 10 + ["implausible-power"] + [None] * 10


def test_a_store_of_a_century_still_begins_in_1970() -> None:
    first, before = ({**GOOD, "interval_start_ms": EARLIEST_MS - ago} for ago in (0, 60_000))
    assert objections(first, before, limits=Limits()) == [None, "too-old"]


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=64),
    st.integers(100, 100_000),
)
def test_power_is_refused_exactly_beyond_the_rating(powers: list[int], max_power_w: int) -> None:
    beyond = any(abs(dw) > max_power_w * 10 for dw in powers if dw != MISSING)
    (found,) = objections({**GOOD, "power_dw": powers}, limits=Limits(max_power_w, 365))
    assert found == ("implausible-power" if beyond else None)


def test_every_reason_is_a_subject_token() -> None:
    assert all(np.char.isalpha(reason.replace("-", "")) for reason in REASONS)
