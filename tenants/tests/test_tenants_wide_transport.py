"""What arrives over TCP is read as it came, in order and to the end, and no more than is wanted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlparse

import pytest
from wattfleet_tenants.adapters.wide_transport import READ_BYTES, PieceReader, WideTransport
from wattfleet_tenants.testing.waiting import eventually

_WITHIN_S = 10


@asynccontextmanager
async def connected(read_every_s: float = 0.0) -> AsyncIterator[tuple[WideTransport, asyncio.StreamWriter]]:
    """The transport, and the server's side of its connection."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = WideTransport(read_every_s)
    async with server, asyncio.timeout(_WITHIN_S):
        await transport.connect(urlparse(f"nats://127.0.0.1:{port}"), 1, _WITHIN_S)
        there = await accepted
        try:
            yield transport, there
        finally:
            transport.close()
            there.close()


async def test_lines_come_first_and_what_is_behind_them_is_not_lost() -> None:
    async with connected() as (transport, there):
        there.write(b"INFO {}\r\nPO")
        assert await transport.readline() == b"INFO {}\r\n"
        there.write(b"NG\r\nMSG a 1 2\r\nhi\r\n")
        assert await transport.readline() == b"PONG\r\n"
        there.write_eof()
        rest = b""
        while not transport.at_eof():
            rest += await transport.read(1)
        assert rest == b"MSG a 1 2\r\nhi\r\n"
        assert await transport.read(1) == b""
        assert await transport.readline() == b""


async def test_what_is_left_is_read_before_the_end_and_lines_one_by_one() -> None:
    reader = PieceReader()
    for piece in (b"INFO {}\r\nPONG\r\nMSG", b" a 1 2\r\n"):
        reader.feed_data(piece)
    reader.feed_eof()
    assert not reader.at_eof()
    assert [await reader.readline() for _ in range(3)] == [b"INFO {}\r\n", b"PONG\r\n", b"MSG a 1 2\r\n"]
    assert reader.at_eof()


async def test_who_waits_hears_that_the_connection_broke() -> None:
    reader = PieceReader()
    waiting = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    reader.set_exception(ConnectionResetError("by the server"))
    async with asyncio.timeout(_WITHIN_S):
        with pytest.raises(ConnectionResetError):
            await waiting


async def test_many_bytes_arrive_in_order_and_in_large_pieces() -> None:
    sent = b"".join(b"%08d" % number for number in range(3 * READ_BYTES // 8))
    async with connected() as (transport, there):
        there.write(sent)
        pieces = []
        while sum(map(len, pieces)) < len(sent):
            pieces.append(await transport.read(1))
        assert b"".join(pieces) == sent
        assert max(map(len, pieces)) <= READ_BYTES


async def test_what_nobody_reads_stays_with_the_server() -> None:
    async with connected() as (transport, there):
        there.write(b"x" * 64 * READ_BYTES)
        reader = transport._io_reader
        assert isinstance(reader, PieceReader)
        await eventually(lambda: sum(map(len, reader._pieces)) >= READ_BYTES, _WITHIN_S, "the reader is full")
        await asyncio.sleep(0)
        assert there.transport.get_write_buffer_size() > 0
        assert sum(map(len, reader._pieces)) < 2 * READ_BYTES, "full, and one piece more"


async def test_a_connection_that_breaks_is_an_error_behind_what_had_arrived() -> None:
    async with connected() as (transport, there):
        reader = transport._io_reader
        assert isinstance(reader, PieceReader)
        there.write(b"the last")
        await eventually(lambda: bool(reader._pieces), _WITHIN_S, "something arrived")
        reader.set_exception(ConnectionResetError("by the server"))
        assert await transport.read(1) == b"the last"
        with pytest.raises(ConnectionResetError):
            await transport.read(1)


@pytest.mark.parametrize(("piece_bytes", "pauses_s"), [(8_000, []), (100_000, [0.03]), (READ_BYTES, [])])
async def test_after_a_read_of_some_messages_more_may_gather_but_few_and_as_many_as_can_be_do_not_wait(
    piece_bytes: int, pauses_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    reader = PieceReader(0.03)
    reader.feed_data(b"x" * piece_bytes)
    reader.feed_data(b"the next")
    assert len(await reader.read()) == piece_bytes
    assert await reader.read() == b"the next"
    assert slept == pauses_s


async def test_while_more_gathers_it_does_so_with_the_kernel() -> None:
    async with connected(read_every_s=0.05) as (transport, there):
        there.write(b"x" * 10_000)
        assert await transport.read(1) == b"x" * 10_000
        for _ in range(10):
            there.write(b"y" * 1_000)
            await asyncio.sleep(0)
        assert await transport.read(1) == b"y" * 10_000, "in one piece"
