"""Decoding thousands of messages at once means the same as decoding each by itself, for any bytes at all."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wattfleet_tenants.reading import MISSING, HomeReadings
from wattfleet_tenants.socket import MAX_SOCKETS
from wattfleet_tenants.wire import batch, codec
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.wire.readings_pb2 import Readings

HOME = b"h0123456789abcdefghij"

int32 = st.integers(-(2**31), 2**31 - 1)
values = st.lists(int32, max_size=MAX_SOCKETS + 2)
proto = st.builds(
    Readings,
    version=st.sampled_from([0, 1, 1, 1, 2]),
    sequence=st.integers(0, 2**32 - 1),
    interval_start_ms=st.integers(0, 2**64 - 1),
    power_dw=values,
    temperature_cc=st.one_of(st.just([]), values),
).map(lambda message: message.SerializeToString(deterministic=True))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    message = bytearray(draw(proto))
    for _ in range(draw(st.integers(1, 3))):
        if message:
            message[draw(st.integers(0, min(len(message), 24) - 1))] = draw(st.integers(0, 255))
    return bytes(message)


# Each kind several times over, so that matrices of damaged and of whole messages are made.
payloads = st.lists(
    st.tuples(st.one_of(proto, damaged(), st.binary(max_size=40), st.binary(min_size=1000, max_size=1100)),
              st.sampled_from([1, 33])), max_size=8
).map(lambda kinds: [payload for payload, times in kinds for _ in range(times)])  # fmt: skip


def one_by_one(payload: bytes) -> HomeReadings | str:
    try:
        return codec.decode(payload)
    except ValueError as error:
        return str(error)


def at_once(messages: Sequence[bytes]) -> list[HomeReadings | str]:
    outcome: dict[int, HomeReadings | str] = {}
    batches, unreadable = batch.decode(Messages.of([b"h%020d" % i for i in range(len(messages))], messages))
    for found in batches:
        for row, position in enumerate(found.positions.tolist()):
            assert position not in outcome
            assert found.households[row] == f"h{position:020d}".encode()
            outcome[position] = HomeReadings(
                int(found.sequence[row]),
                int(found.interval_start_ms[row]),
                tuple(None if v == MISSING else v / 10 for v in found.power_dw[row].tolist()),
                tuple(None if v == MISSING else v / 100 for v in found.temperature_cc[row].tolist()),
            )
    for refused in unreadable:
        assert refused.position not in outcome
        outcome[refused.position] = refused.reason
    return [outcome[i] for i in range(len(messages))]


@given(payloads)
def test_a_batch_says_of_every_message_what_the_codec_says(messages: list[bytes]) -> None:
    assert at_once(messages) == [one_by_one(message) for message in messages]


@st.composite
def of_one_length(draw: st.DrawFn) -> list[bytes]:
    """Messages of several layouts and one length, some with another byte where all of a layout have the same."""
    values = draw(st.integers(2, 40))
    splits = draw(st.lists(st.integers(1, values), min_size=1, max_size=3))
    layouts = [codec.encode(HomeReadings(7, 60_000, (1.0,) * n, (20.0,) * (values - n))) for n in splits]
    of_length = [layout for layout in layouts if len(layout) == len(layouts[0])]
    messages = [bytearray(draw(st.sampled_from(of_length))) for _ in range(draw(st.integers(1, 6)))]
    for message in messages:
        if draw(st.booleans()):
            place = draw(st.sampled_from([0, 1, 2, 7, 16, 17, 18, 19]) | st.integers(0, len(message) - 1))
            message[place] = draw(st.sampled_from([0, 0x22, 0x2A, 0x80, message[place] ^ 0x80]) | st.integers(0, 255))
    return [bytes(draw(st.sampled_from(messages))) for _ in range(draw(st.sampled_from([20, 33, 80])))]


@settings(max_examples=300)
@given(of_one_length())
def test_layouts_of_one_length_are_told_apart(messages: list[bytes]) -> None:
    assert at_once(messages) == [one_by_one(message) for message in messages]


def test_the_range_of_powers_is_that_of_the_batch_alone() -> None:
    many = codec.encode(HomeReadings(7, 60_000, (100.0, 100.0), (20.0,)))
    other = codec.encode(HomeReadings(7, 60_000, (100.0,), (20.0, 20.0)))
    assert len(many) == len(other)
    batches, _ = batch.decode(Messages.of([HOME] * 100, [*[many] * 99, other]))
    assert [found.power_range_dw for found in batches if len(found) == 99] == [(1000, 1000)]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), min_size=1, max_size=4), st.integers(0, 5), st.randoms()
)
def test_joined_rows_are_those_of_all_batches_in_the_order_asked_for(
    counts: list[tuple[int, int]], thermometers: int, chance: random.Random
) -> None:
    parts = []
    for count, step in counts:
        powers = np.array([[chance.randrange(1000) for _ in range(4)] for _ in range(count)], np.int32).reshape(-1, 4)
        temperatures = np.array([[chance.randrange(9)] * thermometers for _ in range(count)], np.int32)
        texts = np.array([b"h%d" % chance.randrange(99) for _ in range(count)], "S28")
        whole = batch.PowerBatch(
            np.arange(count), texts, np.arange(count, dtype=np.uint32), np.arange(count, dtype=np.uint64),
            powers, temperatures.reshape(count, thermometers), (-chance.randrange(9), chance.randrange(9)),
        )  # fmt: skip
        parts.append(whole.only(slice(None, None, step)))
    rows = sum(map(len, parts))
    order = np.array([chance.randrange(rows) for _ in range(2 * rows)], np.intp)
    joined = batch.PowerBatch.joined(parts, order)
    for field in ("positions", "households", "sequence", "interval_start_ms", "power_dw", "temperature_cc"):
        expected = np.concatenate([getattr(part, field) for part in parts])[order]
        assert getattr(joined, field).tolist() == expected.tolist(), field
        assert getattr(joined, field).shape == expected.shape
    ranges = [part.power_range_dw for part in parts]
    assert joined.power_range_dw == (min(low for low, _ in ranges), max(high for _, high in ranges))


def test_batches_of_different_widths_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="unpack"):
        batch._rows([np.zeros((2, 3), np.int32), np.zeros((2, 2), np.int32)], np.arange(4))


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=MAX_SOCKETS), st.integers(0, 70))
def test_every_count_of_sockets_and_thermometers_is_read_column_by_column(powers: list[int], thermometers: int) -> None:
    thermometers = min(thermometers, MAX_SOCKETS)
    message = codec.encode(
        HomeReadings(7, 60_000, tuple(v / 10 for v in powers), tuple(20.5 for _ in range(thermometers)))
    )
    batches, unreadable = batch.decode(Messages.of([HOME] * 40, [message] * 40))
    assert not unreadable
    assert len(batches) == 1, "one matrix"
    assert batches[0].power_dw.tolist() == [powers] * 40
    assert batches[0].temperature_cc.shape == (40, thermometers)


def test_rows_can_be_picked() -> None:
    messages = [codec.encode(HomeReadings(i + 1, 60_000, (float(i),))) for i in range(20)]
    (found,), _ = batch.decode(Messages.of([HOME] * 20, messages))
    odd = found.only(found.sequence % 2 == 1)
    assert odd.power_dw[:, 0].tolist() == [v * 10 for v in range(0, 20, 2)]
    assert odd.positions.tolist() == list(range(0, 20, 2))


@pytest.mark.parametrize("kind", ["every message another layout", "random bytes", "small groups"])
def test_hostile_variety_costs_each_message_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handled: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    def count_rows(step: str, rows: Callable[..., int]) -> None:
        really = getattr(batch, step)

        def counted(*given: Any) -> Any:
            handled[step] += rows(*given)
            calls[step] += 1
            return really(*given)

        monkeypatch.setattr(batch, step, counted)

    count_rows("_groups", len)
    count_rows("_power_length_bytes", lambda messages, positions, *_: len(positions))
    count_rows("_read_like_first", lambda messages, positions, *_: len(positions))
    count_rows("_parse_one_by_one", lambda messages, positions: len(positions))
    chance, count = random.Random(7), 4_000
    batch.decode(Messages.of([HOME] * count, [_hostile(kind, i, chance) for i in range(count)]))
    assert handled["_groups"] <= 2 * count, "by length, then by layout"
    assert handled["_read_like_first"] <= 2 * count, "with those of its length, then with those of its layout"
    assert max(handled["_power_length_bytes"], handled["_parse_one_by_one"]) <= count
    groups = count / batch._WORTH_COLUMNS
    assert calls["_read_like_first"] <= 2 * groups
    del calls["_read_like_first"]
    assert max(calls.values()) <= groups + 1, "no step is set up for few messages"


def _hostile(kind: str, i: int, chance: random.Random) -> bytes:
    if kind == "random bytes":
        return chance.randbytes(chance.randrange(1024))
    sockets = 1 + (i % MAX_SOCKETS if kind.startswith("every") else i // 9 % MAX_SOCKETS)
    readings = HomeReadings(i + 1, 60_000, (1.0,) * sockets, (2.0,) * (i // MAX_SOCKETS % MAX_SOCKETS))
    return codec.encode(readings)


def test_missing_stays_missing() -> None:
    (found,), _ = batch.decode(Messages.of([HOME] * 9, [codec.encode(HomeReadings(1, 60_000, (None, 1.0)))] * 9))
    assert (found.power_dw[:, 0] == np.int32(MISSING)).all()
