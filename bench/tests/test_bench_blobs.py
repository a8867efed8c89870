"""What the bare publisher sends is what agents send, and what it hears is counted right however it is cut."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_bench.answers import CREDIT, Answers, Heard
from wattfleet_bench.blobs import Blobs, answer_bytes
from wattfleet_bench.consumer import count_messages
from wattfleet_bench.homes import MINUTES_PER_DAY, SOCKETS, Homes, day_in_the_past_ms, power_dw
from wattfleet_tenants import subjects
from wattfleet_tenants.household import parse_household_id
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.wire import codec

S1 = ShardId("s1")
HOMES = Homes(60, day_in_the_past_ms())
_PUB = re.compile(rb"PUB (\S+) (\S+) (\d+)\r\n")


def messages_in(blob: bytes) -> list[tuple[str, str, bytes]]:
    """Subject, reply and payload of each message, by the sizes they name."""
    found, at = [], 0
    while at < len(blob):
        head = _PUB.match(blob, at)
        assert head is not None
        end = head.end() + int(head[3])
        found.append((head[1].decode(), head[2].decode(), blob[head.end() : end]))
        assert blob[end : end + 2] == b"\r\n"
        at = end + 2
    return found


@given(minute=st.integers(0, MINUTES_PER_DAY - 1), first=st.integers(0, 39), count=st.integers(1, 20))
def test_a_blob_holds_what_agents_would_send(minute: int, first: int, count: int) -> None:
    span = (20, 60)
    blobs = Blobs(HOMES, S1, span, connection=3)
    last = min(first + count, len(blobs))
    sent = messages_in(blobs.of_minute(minute, first, last))
    households = HOMES.households()[span[0] + first : span[0] + last]
    expected = power_dw(np.arange(span[0] + first, span[0] + last, dtype=np.uint32), minute) / 10
    assert len(sent) == len(households)
    for (subject, reply, payload), household, power_w in zip(sent, households, expected.tolist(), strict=True):
        assert subject == subjects.measurements(S1, household)
        assert reply == f"{subjects.agent_inbox(household)}.bench.3.{minute:08d}"
        readings = HomeReadings(minute + 1, HOMES.interval_start_ms(minute), tuple(power_w))
        assert codec.decode(payload) == readings
        assert codec.encode(readings) == payload


def test_payloads_are_the_same_without_the_protocol() -> None:
    blobs = Blobs(HOMES, S1, (0, HOMES.count))
    assert blobs.payloads(7) == [payload for _, _, payload in messages_in(blobs.of_minute(7, 0, HOMES.count))]


def test_homes_are_households_with_plausible_readings_that_differ() -> None:
    assert len({parse_household_id(one) for one in HOMES.households()}) == HOMES.count
    values = np.stack([power_dw(np.arange(HOMES.count, dtype=np.uint32), minute) for minute in range(60)])
    assert values.min() >= 0
    assert values.max() <= 25_000 * 10
    assert len({row.tobytes() for row in values.transpose(1, 2, 0).reshape(-1, 60)}) == HOMES.count * SOCKETS
    assert Homes(60, 0, seed=2).households() != HOMES.households()


def reply(number: int) -> str:
    return f"{subjects.agent_inbox(HOMES.households()[number])}.bench.0.{number:08d}"


def answer(subject: str, text: bytes) -> bytes:
    return f"MSG {subject} 1 {len(text)}\r\n".encode() + text + b"\r\n"


ARRIVALS = st.lists(
    st.one_of(
        st.integers(0, 59).map(lambda n: answer(reply(n), b"ok")),
        st.integers(0, 59).map(lambda n: answer(reply(n), b"busy")),
        st.integers(0, 59).map(lambda n: answer(reply(n), b"full")),
        st.integers(0, 99_999).map(lambda n: answer(reply(0), b'{"stream":"M", "seq":%d}' % n)),
        st.just(b"PING\r\n"),
        st.just(b"+OK\r\n"),
        st.integers(0, 9_999).map(lambda n: answer(CREDIT, b"%d" % n)),
    ),
    max_size=60,
)


@given(arrivals=ARRIVALS, cuts=st.lists(st.integers(0, 4_000), max_size=8))
def test_answers_are_counted_however_they_are_cut(arrivals: list[bytes], cuts: list[int]) -> None:
    data = b"".join(arrivals)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    listening, heard = Answers(0), Heard()
    for start, end in pairwise(edges):
        part = listening.take(data[start:end])
        heard.acknowledged += part.acknowledged
        heard.refused += part.refused
        heard.pings += part.pings
    credits_ = sum(int(one.split(b"\r\n")[1]) for one in arrivals if CREDIT.encode() in one)
    singles = sum(one.endswith((b"\r\nok\r\n", b"}\r\n")) for one in arrivals)
    assert heard.acknowledged == singles + credits_
    assert heard.pings == arrivals.count(b"PING\r\n")
    refused = [one.split() for one in arrivals if one.endswith((b"busy\r\n", b"full\r\n"))]
    assert heard.refused == [(parts[1].decode(), parts[-1].decode()) for parts in refused]


def test_the_usual_answer_has_the_length_that_is_counted_on() -> None:
    assert len(answer(reply(0), b"ok")) == answer_bytes(0)


@pytest.mark.parametrize(
    "arrived",
    [b"-ERR 'Authorization Violation'\r\n", answer(reply(0), b"no"), b"HMSG x 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"],
)
def test_what_is_no_answer_is_said(arrived: bytes) -> None:
    with pytest.raises(ConnectionError):
        Answers(0).take(arrived)


@given(payloads=st.lists(st.binary(max_size=200), max_size=20), cut=st.integers(0, 400))
def test_the_consumer_counts_whole_messages_by_their_sizes(payloads: list[bytes], cut: int) -> None:
    whole = b"PING\r\n" + b"".join(
        f"MSG m.s1.h 1 _INBOX.h.x {len(payload)}\r\n".encode() + payload + b"\r\n" for payload in payloads
    )
    assert count_messages(whole) == (len(payloads), len(whole))
    data = whole[: max(0, len(whole) - cut)]
    counted, at = count_messages(data)
    rest, _ = count_messages(data[at:] + whole[len(data) :])
    assert counted + rest == len(payloads)
