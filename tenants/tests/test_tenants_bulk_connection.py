"""Messages by the thousand: the same wherever the stream is cut, and no payload is taken for protocol."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.bulk_connection import BulkConnection, BulkParser, Received
from wattfleet_tenants.adapters.nats_connection import READ_BYTES
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually

OURS, OTHERS = 1, 2
HOSTILE = (b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"MSG m.s1.x 1 5\r\nhello\r\n", b"PING\r\n", b"-ERR 'no'\r\n")


class Told:
    """What a client is told by its parser."""

    def __init__(self) -> None:
        self.ours: list[tuple[bytes, bytes, bytes]] = []
        self.others: list[Any] = []

    def take(self, received: Received) -> None:
        self.ours += zip(received.subjects, received.replies, received.payloads, strict=True)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.others.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.others.append("ping")

    async def _process_pong(self) -> None:
        self.others.append(("pong", len(self.ours)))

    async def _process_err(self, text: str) -> None:
        self.others.append(text)


def parser(told: Told) -> BulkParser:
    bulk = BulkParser(told)  # type: ignore[arg-type]
    bulk.listen(OURS, told.take)
    return bulk


@pytest.mark.parametrize(("read_bytes", "pauses_s"), [(8_000, []), (100_000, [0.03]), (READ_BYTES, [])])
async def test_after_a_read_of_some_messages_more_may_gather_but_few_and_as_many_as_can_be_do_not_wait(
    read_bytes: int, pauses_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    told = Told()
    bulk = BulkParser(told, 0.03)  # type: ignore[arg-type]
    bulk.listen(OURS, told.take)
    text = as_bytes("usual", b"m.s1.h0", b"", b"x" * 100)
    stream = text * (2 * READ_BYTES // len(text))
    await bulk.parse(stream[:read_bytes])
    assert len(told.ours) == read_bytes // len(text)
    assert slept == pauses_s


payloads = st.one_of(
    st.binary(max_size=200), st.lists(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=5))).map(b"".join)
)
names = st.sampled_from([b"m.s1.h0", b"m.s1.MSG", b"MSG", b"m.s1.1"])
replies = st.sampled_from([b"", b"_INBOX.h0.x.1", b"MSG", b"1", b"HMSG"])
kinds = st.sampled_from(
    ["usual", "usual", "usual", "headers", "others", "PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'x'\r\n"]
)
pieces = st.lists(st.tuples(kinds, names, replies, payloads), max_size=12)


def as_bytes(kind: str, subject: bytes, reply: bytes, payload: bytes) -> bytes:
    if kind.endswith("\r\n"):
        return kind.encode()
    headers = b"NATS/1.0\r\nA: b\r\n\r\n" if kind == "headers" else b""
    words = [b"HMSG" if headers else b"MSG", subject, b"%d" % (OTHERS if kind == "others" else OURS)]
    words += [reply] if reply else []
    words += [b"%d" % len(headers)] if headers else []
    words += [b"%d" % (len(headers) + len(payload))]
    return b" ".join(words) + b"\r\n" + headers + payload + b"\r\n"


def meant(sent: Sequence[tuple[str, bytes, bytes, bytes]]) -> Told:
    told = Told()
    answers = {"PING\r\n": "ping", "-ERR 'x'\r\n": "'x'"}
    for kind, subject, reply, payload in sent:
        if kind in ("usual", "headers"):
            told.ours.append((subject, reply, payload))
        elif kind == "others":
            told.others.append((OTHERS, subject, reply, payload, None))
        elif kind == "PONG\r\n":
            told.others.append(("pong", len(told.ours)))
        elif kind in answers:
            told.others.append(answers[kind])
    return told


def parse(chunks: Sequence[bytes]) -> Told:
    told = Told()
    bulk = parser(told)

    async def feed() -> None:
        for chunk in chunks:
            await bulk.parse(chunk)

    asyncio.run(feed())
    return told


@given(pieces, st.data())
@example([("usual", b"m.s1.h0", b"_INBOX.h0.x", payload) for payload in HOSTILE], None)
def test_any_cut_of_any_stream_gives_the_same_messages(
    sent: list[tuple[str, bytes, bytes, bytes]], data: st.DataObject | None
) -> None:
    stream = b"".join(as_bytes(*piece) for piece in sent)
    cuts = [1] * len(stream) if data is None else data.draw(st.lists(st.integers(0, 60), max_size=20))
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(stream[at : at + cut])
        at += cut
    told, expected = parse([*chunks, stream[at:]]), meant(sent)
    assert told.ours == expected.ours
    assert told.others == expected.others


def test_a_large_message_in_many_reads_is_looked_at_once() -> None:
    told = Told()
    bulk = parser(told)
    looks = 0
    take_whole = bulk._take_whole

    async def counted(parts: list[bytes]) -> int:
        nonlocal looks
        looks += 1
        return await take_whole(parts)

    bulk._take_whole = counted  # type: ignore[method-assign]
    message = as_bytes("usual", b"m.s1.h0", b"_INBOX.h0.x", b"\r\n" * 50_000)

    async def feed() -> None:
        for at in range(0, len(message), 100):
            await bulk.parse(message[at : at + 100])

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
def test_what_is_no_protocol_is_an_error_that_nats_py_reconnects_on(stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse([stream])


def test_any_error_of_a_callback_is_logged_and_one_that_nats_py_reconnects_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()

    async def fail() -> None:
        raise asyncio.InvalidStateError("a late answer to a ping that was given up")

    told._process_pong = fail  # type: ignore[method-assign]
    with pytest.raises(ProtocolError):
        asyncio.run(parser(told).parse(b"PONG\r\n"))
    assert "given up" in caplog.records[0].error


def test_nats_py_still_has_what_is_replaced() -> None:
    """Parts of nats-py that are not its public interface; when this fails, read its new version before anything."""
    assert "await self._ps.parse(b)" in inspect.getsource(Client._read_loop)
    assert "self._transport.read(" in inspect.getsource(Client._read_loop)
    assert "if not self._transport:" in inspect.getsource(Client._connect_to_server)
    assert "self._pending_data_size > 0" in inspect.getsource(Client._flusher)
    assert {"parse", "reset"} <= set(vars(Parser))
    used_of_parser = {"reset", "parse"}
    source = inspect.getsource(inspect.getmodule(Client) or Client)
    assert {line.split("self._ps.")[1].split("(")[0] for line in source.splitlines() if "self._ps." in line} == (
        used_of_parser
    )
    client = Client()
    for attribute in ("_pending", "_pending_data_size", "_flush_queue", "_sid", "_transport", "_ps"):
        assert hasattr(client, attribute), attribute


@asynccontextmanager
async def edge(broker: ShardBroker) -> AsyncIterator[BulkConnection]:
    connection = BulkConnection()
    await connection.connect_to([broker.url], broker.ingest_edge_creds, "test", subjects.INGEST_INBOX)
    try:
        yield connection
    finally:
        await connection.close()


async def test_messages_of_homes_arrive_as_they_were_sent_and_can_be_answered_together(
    broker: ShardBroker, household: HouseholdId
) -> None:
    told = Told()
    subject = subjects.measurements(broker.shard, household)
    async with edge(broker) as connection, broker.agent(household) as agent:
        await connection.take_from(subjects.all_measurements(broker.shard), "q", told.take)
        inbox = agent.new_inbox()
        heard = await agent.subscribe(f"{inbox}.*")
        sent = [*HOSTILE, bytes(range(256)) * 60, b"x" * 138]
        for i, payload in enumerate(sent):
            await agent.publish(subject, payload, reply=f"{inbox}.{i}", headers={"A": "b"} if i % 2 else None)
        await agent.publish(subject, b"no reply")
        await agent.flush()
        await eventually(lambda: len(told.ours) == len(sent) + 1, 5, "all have arrived")
        assert [payload for _, _, payload in told.ours] == [*sent, b"no reply"]
        assert {name for name, _, _ in told.ours} == {subject.encode()}
        lines = b"".join(b"PUB %b 2\r\nok\r\n" % reply for _, reply, _ in told.ours if reply)
        assert connection.send_now(lines)
        for i in range(len(sent)):
            answer = await heard.next_msg(timeout=5)
            assert (answer.subject, answer.data) == (f"{inbox}.{i}", b"ok")


async def test_it_goes_on_when_the_server_was_killed(broker: ShardBroker, household: HouseholdId) -> None:
    told = Told()
    subject = subjects.measurements(broker.shard, household)
    async with edge(broker) as connection:
        await connection.take_from(subjects.all_measurements(broker.shard), "q", told.take)
        broker.server.kill()
        await eventually(lambda: not connection.is_connected, 10, "the loss is noticed")
        assert not connection.send_now(b"PUB x 0\r\n\r\n")
        broker.server.start()
        waited = asyncio.create_task(connection.send(b"PUB _INBOX.h0.x 0\r\n\r\n"))
        await eventually(lambda: connection.is_connected, 10, "it is connected again")
        await asyncio.wait_for(waited, 5)
        async with broker.agent(household) as agent:
            await agent.publish(subject, b"again", reply=f"{subjects.agent_inbox(household)}.1")
            await agent.flush()
        await eventually(lambda: [payload for _, _, payload in told.ours] == [b"again"], 5, "it takes messages again")


async def test_after_stop_taking_nothing_arrives_and_nobody_answers(
    broker: ShardBroker, household: HouseholdId
) -> None:
    told = Told()
    async with edge(broker) as connection, broker.agent(household) as agent:
        await connection.take_from(subjects.all_measurements(broker.shard), "q", told.take)
        await agent.publish(subjects.measurements(broker.shard, household), b"before")
        await agent.flush()
        await connection.stop_taking()
        assert [payload for _, _, payload in told.ours] == [b"before"]
        await agent.publish(subjects.measurements(broker.shard, household), b"after")
        await agent.flush()
        await connection.flush()
        assert len(told.ours) == 1


async def test_a_subscription_that_the_server_refuses_is_said(broker: ShardBroker) -> None:
    async with edge(broker) as connection:
        with pytest.raises(Unavailable, match="ermissions"):
            await connection.take_from(f"c.{mint_household_id()}", "q", Told().take)
        await connection.take_from(subjects.all_measurements(broker.shard), "q", Told().take)


async def test_a_slow_server_makes_the_sender_wait(broker: ShardBroker) -> None:
    async with edge(broker) as connection:
        lines = b"PUB _INBOX.h0.x 1000\r\n%b\r\n" % (b"x" * 1000) * 1000
        sent = 0
        while connection.send_now(lines):
            sent += 1
        assert sent < 20, "bounded"
        await asyncio.wait_for(connection.send(lines), 10)
        await connection.flush()
