"""What a NATS server may say: the same wherever the stream is cut, and no payload is taken for protocol."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hostile_messages import LIKE_PROTOCOL
from hypothesis import example, given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from wattfleet_tenants.adapters.bulk_connection import BulkParser, Received
from wattfleet_tenants.adapters.server_stream import RawMessage, SizedParser, StreamParser

OURS, OTHERS = 1, 2
HEADERS = b"NATS/1.0\r\nA: b\r\n\r\n"


class Told:
    """What a client is told by its parser, and who takes messages from that."""

    def __init__(self) -> None:
        self.ours: list[tuple[bytes, bytes, bytes]] = []
        self.others: list[Any] = []
        self.headers: list[bytes] = []

    def take(self, received: Received) -> None:
        """As a BulkParser tells it."""
        self.ours += zip(received.subjects, received.replies, received.payloads, strict=True)

    def hear(self, message: RawMessage) -> None:
        """As a SizedParser tells it."""
        self.headers.append(message.headers)
        self.ours.append((message.subject, message.reply, message.payload))

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self.others.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.others.append("ping")

    async def _process_pong(self) -> None:
        self.others.append(("pong", len(self.ours)))

    async def _process_err(self, text: str) -> None:
        self.others.append(text)


payloads = st.one_of(
    st.binary(max_size=200), st.lists(st.one_of(st.sampled_from(LIKE_PROTOCOL), st.binary(max_size=5))).map(b"".join)
)
names = st.sampled_from([b"m.s1.h0", b"m.s1.MSG", b"MSG", b"m.s1.1"])
replies = st.sampled_from([b"", b"_INBOX.h0.x.1", b"MSG", b"1", b"HMSG"])
kinds = st.sampled_from(
    ["usual", "usual", "usual", "headers", "others", "PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'x'\r\n"]
)
pieces = st.lists(st.tuples(kinds, names, replies, payloads), max_size=12)


def as_bytes(kind: str, subject: bytes, reply: bytes, payload: bytes) -> bytes:
    """A piece as the server sends it."""
    if kind.endswith("\r\n"):
        return kind.encode()
    headers = HEADERS if kind == "headers" else b""
    words = [b"HMSG" if headers else b"MSG", subject, b"%d" % (OTHERS if kind == "others" else OURS)]
    words += [reply] if reply else []
    words += [b"%d" % len(headers)] if headers else []
    words += [b"%d" % (len(headers) + len(payload))]
    return b" ".join(words) + b"\r\n" + headers + payload + b"\r\n"


def meant(sent: Sequence[tuple[str, bytes, bytes, bytes]]) -> Told:
    """What is to be told of pieces."""
    told = Told()
    answers = {"PING\r\n": "ping", "-ERR 'x'\r\n": "'x'"}
    for kind, subject, reply, payload in sent:
        if kind in ("usual", "headers"):
            told.ours.append((subject, reply, payload))
        elif kind == "others":
            told.others.append((OTHERS, subject, reply, payload, b""))
        elif kind == "PONG\r\n":
            told.others.append(("pong", len(told.ours)))
        elif kind in answers:
            told.others.append(answers[kind])
    return told


@st.composite
def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The stream in any pieces."""
    chunks, at = [], 0
    for length in draw(st.lists(st.integers(0, 60), max_size=20)):
        chunks.append(stream[at : at + length])
        at += length
    return [*chunks, stream[at:]]


def sized(told: Told) -> StreamParser:
    parser = SizedParser(told)  # type: ignore[arg-type]
    parser.listen(OURS, told.hear)
    return parser


def bulk(told: Told) -> StreamParser:
    parser = BulkParser(SizedParser(told))  # type: ignore[arg-type]
    parser.listen(OURS, told.take)
    return parser


pytestmark = pytest.mark.parametrize("parser", [sized, bulk])
MakeParser = Callable[[Told], StreamParser]


def parse(make: MakeParser, chunks: Sequence[bytes]) -> Told:
    told = Told()
    parser = make(told)

    async def feed() -> None:
        for chunk in chunks:
            await parser.parse(chunk)

    asyncio.run(feed())
    return told


@given(sent=pieces, data=st.data())
@example(sent=[("usual", b"m.s1.h0", b"_INBOX.h0.x", payload) for payload in LIKE_PROTOCOL], data=None)
def test_any_cut_of_any_stream_gives_the_same_messages(
    parser: MakeParser, sent: list[tuple[str, bytes, bytes, bytes]], data: st.DataObject | None
) -> None:
    stream = b"".join(as_bytes(*piece) for piece in sent)
    chunks = [bytes([byte]) for byte in stream] if data is None else data.draw(cuts(stream))
    told, expected = parse(parser, chunks), meant(sent)
    assert told.ours == expected.ours
    assert told.others == expected.others
    if parser is sized:
        assert told.headers == [
            HEADERS if kind == "headers" else b"" for kind, *_ in sent if kind in ("usual", "headers")
        ]


def test_a_large_message_in_many_reads_is_looked_at_once(parser: MakeParser) -> None:
    told = Told()
    stream_parser = parser(told)
    looks = 0
    take_whole = stream_parser._take_whole

    async def counted(stream: bytes) -> bytes | memoryview:
        nonlocal looks
        looks += 1
        return await take_whole(stream)

    stream_parser._take_whole = counted  # type: ignore[method-assign]
    message = as_bytes("usual", b"m.s1.h0", b"_INBOX.h0.x", b"\r\n" * 50_000)

    async def feed() -> None:
        for at in range(0, len(message), 100):
            await stream_parser.parse(message[at : at + 100])

    asyncio.run(feed())
    assert told.ours == [(b"m.s1.h0", b"_INBOX.h0.x", b"\r\n" * 50_000)]
    assert looks == 2


@pytest.mark.parametrize(
    "stream",
    [
        b"MSG m.s1.h0 1 _INBOX.h0.x 3\r\nlonger\r\n",
        b"MSG m.s1.h0 1 _INBOX.h0.x three\r\nabc\r\n",
        b"MSG m.s1.h0 2 x\r\nabc\r\n",
        b"HMSG m.s1.h0 1 _INBOX.h0.x no 3\r\nabc\r\n",
        b"what is this\r\n",
    ],
)
def test_what_is_no_protocol_is_an_error_that_nats_py_reconnects_on(parser: MakeParser, stream: bytes) -> None:
    told = Told()
    with pytest.raises(ProtocolError):
        asyncio.run(parser(told).parse(stream))
    assert not told.ours


def test_any_error_of_a_callback_is_logged_and_one_that_nats_py_reconnects_on(
    parser: MakeParser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()

    async def fail() -> None:
        raise asyncio.InvalidStateError("a late answer to a ping that was given up")

    told._process_pong = fail  # type: ignore[method-assign]
    with pytest.raises(ProtocolError):
        asyncio.run(parser(told).parse(b"PONG\r\n"))
    assert "given up" in caplog.records[0].error


@pytest.mark.parametrize("reply", [b"a\x0cb", b"a\x0bb", b"a\xffb"])
@pytest.mark.parametrize("size", [10, 9_000])
def test_a_reply_subject_that_nats_py_does_not_match_holds_nothing_up(
    parser: MakeParser, reply: bytes, size: int
) -> None:
    told = parse(parser, [as_bytes("others", b"r.h0", reply, b"x" * size) + as_bytes("others", b"r.h0", b"", b"next")])
    assert [(one[2], len(one[3])) for one in told.others] == [(reply, size), (b"", 4)]


def test_a_new_stream_begins_without_the_rest_of_the_last_one(parser: MakeParser) -> None:
    told = Told()
    stream_parser = parser(told)
    message = as_bytes("usual", b"m.s1.h0", b"_INBOX.h0.x", b"hello")

    async def feed() -> None:
        for begun in (b"MSG m.s1.h0 1 600000\r\nthe first of", b"MSG m.s1", b"PON"):
            await stream_parser.parse(begun)
            stream_parser.reset()
            await stream_parser.parse(message)

    asyncio.run(feed())
    assert told.ours == [(b"m.s1.h0", b"_INBOX.h0.x", b"hello")] * 3


def test_nothing_is_kept_of_messages_that_are_handed_over(parser: MakeParser) -> None:
    stream_parser = parser(Told())
    asyncio.run(stream_parser.parse(as_bytes("usual", b"m.s1.h0", b"", b"x" * 100_000)))
    assert not stream_parser._rest
