"""Messages by the thousand, from a real server: as they were sent, through its end, and until nobody wants them."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlparse

import pytest
from hostile_messages import LIKE_PROTOCOL
from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.bulk_connection import BulkConnection, Received
from wattfleet_tenants.adapters.wide_transport import READ_BYTES, PieceReader
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually


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
    assert "self._io_reader.read(" in inspect.getsource(TcpTransport.read)
    assert "self._io_writer.transport" in inspect.getsource(TcpTransport.connect_tls)
    assert {"_bare_io_reader", "_io_reader", "_bare_io_writer", "_io_writer"} == set(vars(TcpTransport()))
    replaced = {"_build_message", "_process_headers", "_process_pong", "_process_msg", "_flush_pending"}
    assert replaced <= set(vars(Client))
    client = Client()
    for attribute in ("_pending", "_pending_data_size", "_flush_queue", "_sid", "_transport", "_ps"):
        assert hasattr(client, attribute), attribute


class Taken:
    """What a connection took."""

    def __init__(self) -> None:
        self.ours: list[tuple[bytes, bytes, bytes]] = []

    def take(self, received: Received) -> None:
        self.ours += zip(received.subjects, received.replies, received.payloads, strict=True)


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
    taken = Taken()
    subject = subjects.measurements(broker.shard, household)
    async with edge(broker) as connection, broker.agent(household) as agent:
        await connection.take_from(subjects.all_measurements(broker.shard), "q", taken.take)
        inbox = agent.new_inbox()
        heard = await agent.subscribe(f"{inbox}.*")
        sent = [*LIKE_PROTOCOL, bytes(range(256)) * 60, b"x" * 138]
        for i, payload in enumerate(sent):
            await agent.publish(subject, payload, reply=f"{inbox}.{i}", headers={"A": "b"} if i % 2 else None)
        await agent.publish(subject, b"no reply")
        await agent.flush()
        await eventually(lambda: len(taken.ours) == len(sent) + 1, 5, "all have arrived")
        assert [payload for _, _, payload in taken.ours] == [*sent, b"no reply"]
        assert {name for name, _, _ in taken.ours} == {subject.encode()}
        lines = b"".join(b"PUB %b 2\r\nok\r\n" % reply for _, reply, _ in taken.ours if reply)
        assert connection.send_now(lines)
        for i in range(len(sent)):
            answer = await heard.next_msg(timeout=5)
            assert (answer.subject, answer.data) == (f"{inbox}.{i}", b"ok")


async def test_it_goes_on_when_the_server_was_killed(broker: ShardBroker, household: HouseholdId) -> None:
    taken = Taken()
    subject = subjects.measurements(broker.shard, household)
    async with edge(broker) as connection:
        await connection.take_from(subjects.all_measurements(broker.shard), "q", taken.take)
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
        await eventually(lambda: [payload for _, _, payload in taken.ours] == [b"again"], 5, "it takes messages again")


async def test_after_stop_taking_nothing_arrives_and_nobody_answers(
    broker: ShardBroker, household: HouseholdId
) -> None:
    taken = Taken()
    async with edge(broker) as connection, broker.agent(household) as agent:
        await connection.take_from(subjects.all_measurements(broker.shard), "q", taken.take)
        await agent.publish(subjects.measurements(broker.shard, household), b"before")
        await agent.flush()
        await connection.stop_taking()
        assert [payload for _, _, payload in taken.ours] == [b"before"]
        await agent.publish(subjects.measurements(broker.shard, household), b"after")
        await agent.flush()
        await connection.flush()
        assert len(taken.ours) == 1


async def test_it_reads_in_large_pieces_and_not_too_often(broker: ShardBroker) -> None:
    connection = BulkConnection(0.03)
    await connection.connect_to([broker.url], broker.ingest_edge_creds, "test", subjects.INGEST_INBOX)
    reader = connection._transport._io_reader  # type: ignore[union-attr]
    assert isinstance(reader, PieceReader)
    assert reader._read_every_s == 0.03
    assert connection._transport._io_writer.transport.max_size == READ_BYTES  # type: ignore[union-attr]
    await connection.close()


async def test_a_new_connection_begins_without_the_rest_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> None:
        """As if it had been."""

    monkeypatch.setattr(Client, "_connect_to_server", connect)
    connection = BulkConnection()
    await connection._ps.parse(b"MSG m.s1.h0 1 600000\r\nthe first of")
    await connection._connect_to_server(Srv(urlparse("nats://127.0.0.1")))
    assert not connection._bulk._rest
    assert not connection._bulk._needed_bytes


def test_a_message_with_a_reply_subject_that_is_no_text_is_for_nobody() -> None:
    assert BulkConnection()._build_message(1, b"r.h0", b"a\xffb", b"", None) is None
    assert BulkConnection()._build_message(1, b"r.h0", b"ab", b"", None).reply == "ab"


async def test_a_subscription_that_the_server_refuses_is_said(broker: ShardBroker) -> None:
    async with edge(broker) as connection:
        with pytest.raises(Unavailable, match="ermissions"):
            await connection.take_from(f"c.{mint_household_id()}", "q", Taken().take)
        await connection.take_from(subjects.all_measurements(broker.shard), "q", Taken().take)


async def test_a_slow_server_makes_the_sender_wait(broker: ShardBroker) -> None:
    async with edge(broker) as connection:
        lines = b"PUB _INBOX.h0.x 1000\r\n%b\r\n" % (b"x" * 1000) * 1000
        sent = 0
        while connection.send_now(lines):
            sent += 1
        assert sent < 20, "bounded"
        await asyncio.wait_for(connection.send(lines), 10)
        await connection.flush()
