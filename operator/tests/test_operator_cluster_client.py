"""How the operator's requests travel, over real connections; that Kubernetes understands them the stories show."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from lightkube import KubeConfig
from lightkube.resources.core_v1 import Secret
from wattfleet_operator.adapters.cluster import asking
from wattfleet_operator.adapters.cluster_client import AiohttpTransport, cluster_client
from wattfleet_operator.errors import NotYet
from wattfleet_tenants.testing.programs import free_port

_TOLERANCE_S = 0.2

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that does nothing but `answer`, and then hangs up."""
    answering: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        await answer(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*filter(None, answering))


def a_client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=AiohttpTransport(ssl.create_default_context()), timeout=_TOLERANCE_S)


async def test_a_request_arrives_as_it_was_given_and_its_answer_is_unpacked() -> None:
    arrived: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readuntil(b'{"a":1}'))
        body = gzip.compress(b'{"kind":"Status"}')
        writer.write(
            b"HTTP/1.1 409 Conflict\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()

    async with served(answer) as url, a_client() as client:
        kind = {"Content-Type": "application/apply-patch+yaml"}
        given = await client.patch(f"{url}/a%2Fb?force=true&x=a%20b", content=b'{"a":1}', headers=kind)
    assert (given.status_code, given.json()) == (409, {"kind": "Status"})
    first, *headers = arrived[0].decode().split("\r\n")
    assert first == "PATCH /a%2Fb?force=true&x=a%20b HTTP/1.1"
    assert "content-type: application/apply-patch+yaml" in map(str.lower, headers)
    assert len([one for one in headers if one.lower().startswith(("host:", "content-length:"))]) == 2


async def test_a_server_that_is_away_is_a_connection_error() -> None:
    async with a_client() as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{free_port()}")


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(answer) as url, a_client() as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(url)


async def test_a_server_that_hangs_up_is_a_read_error() -> None:
    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with served(answer) as url, a_client() as client:
        with pytest.raises(httpx2.ReadError):
            await client.patch(url)


async def test_a_server_of_another_name_or_maker_is_not_trusted() -> None:
    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with served(answer) as url, a_client() as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(url.replace("http:", "https:"))


async def test_an_answer_that_is_not_kubernetes_own_is_an_error_as_any_other() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with served(answer) as url:
        user, context = {"name": "u", "user": {"token": "t"}}, {"name": "x", "context": {"cluster": "c", "user": "u"}}
        clusters = [{"name": "c", "cluster": {"server": url}}]
        config = {"clusters": clusters, "users": [user], "contexts": [context], "current-context": "x"}
        client = cluster_client(KubeConfig.from_dict(config))
        with pytest.raises(NotYet, match="HTTPStatusError"), asking():
            await client.get(Secret, "any", namespace="any")
        await client.close()
