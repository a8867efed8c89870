"""The baseline gets what ours gets, writes what was measured, and acknowledges only what is stored; without servers."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from wattfleet_bench.baseline import comparison
from wattfleet_bench.baseline.__main__ import main
from wattfleet_bench.baseline.comparison import Cost, Round, Stored
from wattfleet_bench.baseline.consumer import Consumer, Habits
from wattfleet_bench.baseline.lines import MAX_POWER_W, FixedWidthLines, line_by_line
from wattfleet_bench.baseline.publisher import Confirms, Frames
from wattfleet_bench.homes import Homes, power_dw
from wattfleet_bench.results import missed, write
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.testing.builders import A_MINUTE_MS
from wattfleet_tenants.wire import codec

Readings = dict[tuple[str, int, int], float]
HOUSEHOLDS = [HouseholdId(f"h{number:020}") for number in range(3)]
FIXED_WIDTH = FixedWidthLines()

powers_dw = st.integers(-MAX_POWER_W * 10, MAX_POWER_W * 10)
minutes = st.integers(0, 10_000).map(lambda minute: A_MINUTE_MS + minute * INTERVAL_MS)
homes_messages = st.integers(1, 64).flatmap(
    lambda sockets: st.lists(
        st.tuples(st.sampled_from(HOUSEHOLDS), minutes, st.lists(powers_dw, min_size=sockets, max_size=sockets)),
        min_size=1,
        max_size=30,
        unique_by=lambda sent: sent[:2],
    )
)


def encoded(sent: Sequence[tuple[HouseholdId, int, list[int]]]) -> tuple[list[bytes], list[bytes]]:
    messages = [codec.encode(HomeReadings(1, at_ms, tuple(dw / 10 for dw in values))) for _, at_ms, values in sent]
    return [household.encode() for household, _, _ in sent], messages


def as_our_codec_reads(households: Sequence[bytes], messages: Sequence[bytes]) -> Readings:
    found: Readings = {}
    for household, message in zip(households, messages, strict=True):
        readings = codec.decode(message)
        for index, power_w in enumerate(readings.power_w):
            if power_w is not None:
                found[household.decode(), index + 1, readings.interval_start_ms] = power_w
    return found


def as_influxdb_reads(lines: bytes) -> Readings:
    found: Readings = {}
    for line in lines.decode().splitlines():
        series, fields, at_ms = line.split(" ")
        tags = dict(tag.split("=") for tag in series.split(",")[1:])
        for name, value in (one.split("=") for one in fields.split(",")):
            socket = tags["socket"] if name == "value" else name.removeprefix("s")
            found[tags["household"], int(socket), int(at_ms)] = float(value)
    return found


@given(homes_messages)
def test_both_ways_of_writing_lines_say_what_our_codec_reads(sent: list[tuple[HouseholdId, int, list[int]]]) -> None:
    households, messages = encoded(sent)
    expected = as_our_codec_reads(households, messages)
    assert as_influxdb_reads(line_by_line(households, messages)) == expected
    assert as_influxdb_reads(FIXED_WIDTH(households, messages)) == expected


def test_a_missing_reading_has_no_line_and_no_place_in_a_line_of_fixed_width() -> None:
    household, message = HOUSEHOLDS[0].encode(), codec.encode(HomeReadings(1, A_MINUTE_MS, (1.5, None, 2.5)))
    assert list(as_influxdb_reads(line_by_line([household], [message])).values()) == [1.5, 2.5]
    with pytest.raises(ValueError, match="no place"):
        FIXED_WIDTH([household], [message])


@pytest.mark.parametrize(
    ("households", "message"),
    [
        (HOUSEHOLDS[:1], b"none of ours"),
        (HOUSEHOLDS[:1], codec.encode(HomeReadings(1, A_MINUTE_MS, (MAX_POWER_W + 0.1,)))),
        ([HOUSEHOLDS[0], HouseholdId("h" + "0" * 16)], codec.encode(HomeReadings(1, A_MINUTE_MS, (1.0,)))),
    ],
)
def test_lines_of_fixed_width_refuse_what_does_not_fit(households: list[HouseholdId], message: bytes) -> None:
    with pytest.raises(ValueError, match=r"malformed|no place|length"):
        FIXED_WIDTH([household.encode() for household in households], [message] * len(households))


def frames_of(data: bytes) -> list[Any]:
    found = []
    while data:
        consumed, one = frame.decode_frame(data)
        found.append(one)
        data = data[consumed:]
    return found


@given(st.integers(0, 1439), st.integers(0, 6))
def test_rabbitmq_gets_the_messages_of_the_homes_persistent_and_each_under_its_household(
    minute: int, first: int
) -> None:
    homes = Homes(7, A_MINUTE_MS)
    frames = frames_of(Frames(homes).of(minute, first, 7))
    methods, headers, bodies = frames[::3], frames[1::3], frames[2::3]
    numbers = range(first, 7)
    values = power_dw(np.arange(7, dtype=np.uint32), minute)
    assert [one.method.routing_key for one in methods] == [homes.households()[number] for number in numbers]
    assert {one.properties.delivery_mode for one in headers} == {2}
    assert [one.fragment for one in bodies] == [
        codec.encode(HomeReadings(minute + 1, homes.interval_start_ms(minute), tuple(dw / 10 for dw in values[number])))
        for number in numbers
    ]


def confirm(tag: int, multiple: bool = False) -> bytes:
    return bytes(frame.Method(1, spec.Basic.Ack(tag, multiple)).marshal())


@given(st.data(), st.integers(1, 40))
def test_every_confirmation_counts_once_however_the_bytes_arrive(data: st.DataObject, published: int) -> None:
    tags = data.draw(st.lists(st.tuples(st.integers(1, published), st.booleans())))
    stream = b"".join(confirm(tag, multiple) for tag, multiple in tags)
    confirmed = {one for tag, multiple in tags for one in (range(1, tag + 1) if multiple else [tag])}
    confirms = Confirms()
    confirms.published(published)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        confirms.received(stream[:size])
        stream = stream[size:]
    assert len(confirms) == published - len(confirmed)


def test_a_message_that_rabbitmq_refuses_ends_the_run() -> None:
    refusal = bytes(frame.Method(1, spec.Basic.Nack(1)).marshal())
    with pytest.raises(ConnectionError, match="Nack"):
        Confirms().received(refusal)


@dataclass
class Channel:
    """A queue of messages, and what was acknowledged of it."""

    messages: int
    acknowledged: list[tuple[int, bool]] = field(default_factory=list)

    def basic_qos(self, prefetch_count: int) -> None:
        pass

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.acknowledged.append((tag, multiple))

    def consume(self, queue: str, inactivity_timeout: float) -> Any:
        for tag in range(1, self.messages + 1):
            yield SimpleNamespace(delivery_tag=tag, routing_key=HOUSEHOLDS[0]), None, struct.pack("I", tag)
        yield None, None, None


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (True, [(1, False), (2, False), (3, False), (4, False), (5, False)]),
        (False, [(2, True), (4, True), (5, True)]),
    ],
)
def test_a_consumer_acknowledges_what_is_stored(each: bool, expected: list[tuple[int, bool]]) -> None:
    channel = Channel(5)
    written: list[tuple[bytes, int]] = []
    counted: list[int] = []

    def write(lines: bytes) -> None:
        written.append((lines, len(channel.acknowledged)))

    def render(households: Sequence[bytes], messages: Sequence[bytes]) -> bytes:
        return b"".join(messages)

    Consumer(channel, write, render, Habits(2, 4, each), counted.append).run(lambda: True)
    assert channel.acknowledged == expected
    assert [struct.unpack(f"{len(lines) // 4}I", lines) for lines, _ in written] == [(1, 2), (3, 4), (5,)]
    assert [before for _, before in written] == ([0, 2, 4] if each else [0, 1, 2])
    assert counted == [2, 2, 1]


def test_nothing_is_acknowledged_that_the_store_refused() -> None:
    channel = Channel(2)

    def refuse(lines: bytes) -> None:
        raise RuntimeError("InfluxDB answers 500")

    consumer = Consumer(channel, refuse, line_by_line_of_nothing, Habits(2, 4, True), lambda _: None)
    with pytest.raises(RuntimeError, match="500"):
        consumer.run(lambda: True)
    assert channel.acknowledged == []


def line_by_line_of_nothing(households: Sequence[bytes], messages: Sequence[bytes]) -> bytes:
    return b""


def test_ratios_are_taken_within_a_round_and_written_with_their_target(tmp_path: Path) -> None:
    def a_round(speed: float) -> Round:
        ours = Cost(50_000 * speed, {"store": 0.8, "nats": 0.2})
        published = Cost(5_000 * speed, {"rabbitmq": 4.0, "influxdb": 6.0}), Stored(300, 300, 0)
        best = Cost(10_000 * speed, {"rabbitmq": 2.0, "influxdb": 3.0}), Stored(600, 540, 7)
        return Round(ours, {"published": published, "best": best})

    found = comparison.results([a_round(speed) for speed in (1.0, 0.3, 0.7)])
    by_name = {one.name: one for one in found}
    assert len(by_name) == len(found)
    assert by_name["ratio.published.rate"].value == pytest.approx(10)
    assert by_name["ratio.published.rate"].target == ">= 10.0"
    assert by_name["ratio.best.rate"].value == pytest.approx(5)
    assert by_name["ratio.published.cpu"].value == pytest.approx(10)
    assert by_name["ratio.best.cpu"].value == pytest.approx(5)
    assert by_name["ours.rate"].value == 35_000
    assert (by_name["baseline.best.missing"].value, by_name["baseline.best.differing"].value) == (180, 21)
    assert missed(found) == []
    assert "10.0 times the messages, 1/10.0 of the CPU" in comparison.in_words(found)

    write(tmp_path / "bench-baseline.json", found, "a machine")
    rows = json.loads((tmp_path / "bench-baseline.json").read_text())
    assert {tuple(row) for row in rows} == {("name", "value", "unit", "target", "met", "conditions")}


def test_without_the_programs_it_says_what_fetches_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--programs", str(tmp_path / "missing")]) == 1
    assert "`make bench-baseline` fetches them" in capsys.readouterr().err
