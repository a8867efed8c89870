"""Handing samples to the store when it does not answer, went away, or says no."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from wattfleet_tenants.adapters import victoriametrics
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import eventually

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def store_that(serve: Serve) -> AsyncIterator[VictoriaMetricsStore]:
    serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve_and_close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as http:
        yield VictoriaMetricsStore(http, f"http://127.0.0.1:{port}")
    server.close()
    for writer in serving.values():
        writer.transport.abort()
    await asyncio.gather(*serving)


async def body_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return await reader.readexactly(int(length.split(b":")[1]))


async def test_pieces_arrive_as_one_body_and_connections_are_used_again_until_the_store_closes_them() -> None:
    bodies: list[list[bytes]] = []
    closed = asyncio.Event()

    async def two_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append([])
        for _ in range(2):
            bodies[-1].append(await body_of(reader))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with store_that(two_requests) as store:
        await store.insert_rows([memoryview(b"one")])
        await store.insert_rows([memoryview(b"tw"), memoryview(b"o")])
        await asyncio.wait_for(closed.wait(), 5)
        await store.insert_rows([memoryview(b"three")])
    assert bodies == [[b"one", b"two"], [b"three"]]


async def test_runs_are_sent_side_by_side_and_each_ends_when_it_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(victoriametrics, "_TURN_AFTER_S", 60)
    begun: list[bytes] = []
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    ended: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        name = await reader.readexactly(5)
        begun.append(name)
        await reader.readexactly(1)
        ended.append(name)
        writer.write(await answers.get())

    async with store_that(take) as store:
        turns = [asyncio.Event() for _ in range(3)]
        bodies = [[memoryview(b"run %d." % i)] for i in range(3)]
        inserting = [asyncio.create_task(store.insert_runs(*one)) for one in zip(bodies, turns, strict=True)]
        await eventually(lambda: len(begun) == 3, 5, "the store has all but the last bytes")
        for i, answer in enumerate((b"HTTP/1.1 204 No Content\r\n\r\n", b"", b"HTTP/1.1 204 No Content\r\n\r\n")):
            assert len(ended) == i
            turns[i].set()
            await eventually(lambda i=i: len(ended) == i + 1, 5, "its last byte is there")
            answers.put_nowait(answer)
        first, second, third = await asyncio.gather(*inserting, return_exceptions=True)
    assert ended == [b"run 0", b"run 1", b"run 2"]
    assert first is third is None
    assert isinstance(second, Unavailable)


async def test_a_body_waits_for_the_one_before_it_but_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(victoriametrics, "_TURN_AFTER_S", 0.2)
    waited_s: list[float] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(3)
        began_s = time.monotonic()
        await reader.readexactly(1)
        waited_s.append(time.monotonic() - began_s)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with store_that(take) as store, asyncio.timeout(5):
        await store.insert_runs([memoryview(b"body")], asyncio.Event())
    assert waited_s[0] >= 0.19


async def test_a_store_that_does_not_take_a_body_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(victoriametrics, "_INSERT_WITHIN_S", 0.2)
    ended = asyncio.Event()

    async def read_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with store_that(read_nothing) as store, asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await store.insert_runs([memoryview(bytes(30_000_000))], asyncio.Event())
        ended.set()


async def test_a_store_that_says_no_is_unavailable() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await body_of(reader)
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull")

    async with store_that(refuse) as store:
        with pytest.raises(Unavailable, match=r"503.*full"):
            await store.insert_rows([memoryview(b"x")])


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
async def test_a_store_that_goes_away_in_the_middle_is_unavailable(answer: bytes) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await body_of(reader)
        writer.write(answer)

    async with store_that(break_off) as store:
        with pytest.raises(Unavailable):
            await store.insert_rows([memoryview(b"x")])


async def test_no_store_at_all_is_unavailable() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(Unavailable):
            await VictoriaMetricsStore(http, f"http://127.0.0.1:{free_port()}").insert_rows([memoryview(b"x")])


@pytest.mark.parametrize("size", [1, 50_000_000], ids=["it does not answer", "it does not read"])
def test_a_wedged_store_blocks_neither_the_writer_nor_its_end(size: int) -> None:
    async def insert_and_give_up() -> None:
        reached, over = asyncio.Event(), asyncio.Event()

        async def wedge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            reached.set()
            await over.wait()

        async with store_that(wedge) as store:
            inserting = asyncio.create_task(store.insert_rows([memoryview(bytes(size))]))
            await eventually(reached.is_set, 5, "the store was asked")
            inserting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await inserting
            over.set()

    async def within_time() -> None:
        await asyncio.wait_for(insert_and_give_up(), 10)

    began_s = time.monotonic()
    asyncio.run(within_time())
    assert time.monotonic() - began_s < 10, "the sending thread did not end"
