"""The page's socket: rewritten tokens, our own pages only, both directions, clean ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import pytest_asyncio
import websockets
from gateway_provider import Provider
from gateway_running import Serving, serving
from wattfleet_gateway import ui_socket
from wattfleet_gateway.settings import Settings
from wattfleet_tenants.grants import SigningKeys
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import eventually
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

SOON_S = 5.0
TOKEN = "9f7c1e88-1111-4222-8333-444455556666"


class Backend:
    """Stands where Reflex stands: remembers who came and how, and echoes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.came: list[SimpleNamespace] = []
        self.open: set[ServerConnection] = set()

    async def serve(self) -> AbstractAsyncContextManager[object]:
        return await serve(self._talk, "127.0.0.1", self.port, select_subprotocol=_first)

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        parts = urlsplit(connection.request.path)
        query, headers = parse_qs(parts.query), connection.request.headers
        self.came.append(SimpleNamespace(path=parts.path, query=query, headers=headers))
        self.open.add(connection)
        try:
            async for message in connection:
                await connection.send(message)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.open.discard(connection)

    @property
    def token(self) -> str:
        (token,) = self.came[-1].query["token"]
        return str(token)


def _first(_connection: ServerConnection, offered: Sequence[websockets.Subprotocol]) -> websockets.Subprotocol | None:
    return next(iter(offered), None)


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend(free_port())
    async with await backend.serve():
        yield backend


@pytest_asyncio.fixture
async def gateway(
    settings: Settings, provider: Provider, signing_keys: SigningKeys, backend: Backend
) -> AsyncIterator[Serving]:
    wanted = replace(settings, ui_backend_url=f"http://127.0.0.1:{backend.port}")
    async with serving(wanted, provider, signing_keys) as running:
        yield running


def page(gateway: Serving, browser: httpx2.AsyncClient | None, query: str = "", origin: str | None = "") -> connect:
    """A socket of a page in `browser`; origin: None for no such header, "" for our own."""
    headers = {"User-Agent": "Test/1.0"}
    if browser and (cookies := "; ".join(f"{name}={value}" for name, value in browser.cookies.items())):
        headers["Cookie"] = f"theme=dark; {cookies}"
    query = query or f"EIO=4&transport=websocket&token={TOKEN}"
    address = gateway.url.replace("http", "ws", 1) + f"/_event/?{query}"
    return connect(
        address,
        origin=websockets.Origin(gateway.url if origin == "" else origin) if origin is not None else None,
        additional_headers=headers,
        subprotocols=[websockets.Subprotocol("0.10.1")],
        proxy=None,
    )


async def refused(socket: connect) -> int:
    with pytest.raises(websockets.InvalidStatus) as error:
        async with socket:
            pass
    assert error.value.response.headers["content-type"] == "application/problem+json"
    return int(error.value.response.status_code)


async def until_closed(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(SOON_S):
        await socket.wait_closed()
    return socket.close_code


async def test_messages_pass_in_both_directions(gateway: Serving, backend: Backend) -> None:
    async with page(gateway, await gateway.signed_in()) as socket:
        assert socket.subprotocol == "0.10.1"
        for message in ("text ⚡", b"\x00bytes", "", "x" * 500_000):
            await socket.send(message)
            assert await socket.recv() == message
    await eventually(lambda: not backend.open, SOON_S, "the backend's side is closed too")


async def test_the_backend_sees_our_token_and_only_our_cookie(gateway: Serving, backend: Backend) -> None:
    alice = await gateway.signed_in()
    async with page(gateway, alice):
        came = backend.came[-1]
        assert came.path == "/_event/"
        assert set(came.query) == {"EIO", "transport", "token"}
        assert backend.token != TOKEN
        assert len(backend.token) == 64
        assert came.headers["Cookie"] == f"wattfleet_session={alice.cookies['wattfleet_session']}"
        assert (came.headers["Origin"], came.headers["User-Agent"]) == (gateway.url, "Test/1.0")


async def test_bob_with_alices_token_does_not_get_alices_state(gateway: Serving, backend: Backend) -> None:
    tokens = []
    for browser in (await gateway.signed_in("alice"), await gateway.signed_in("bob"), None):
        async with page(gateway, browser):
            tokens.append(backend.token)
    assert len(set(tokens)) == 3


async def test_a_reloaded_tab_finds_its_state_again(gateway: Serving, backend: Backend) -> None:
    alice = await gateway.signed_in()
    tokens = set()
    for _ in range(2):
        async with page(gateway, alice):
            tokens.add(backend.token)
    assert len(tokens) == 1


async def test_a_new_session_of_the_same_person_begins_with_a_new_state(gateway: Serving, backend: Backend) -> None:
    tokens = set()
    for _ in range(2):
        async with page(gateway, await gateway.signed_in()):
            tokens.add(backend.token)
    assert len(tokens) == 2


async def test_showing_the_backends_own_token_opens_nothing(gateway: Serving, backend: Backend) -> None:
    alice = await gateway.signed_in()
    async with page(gateway, alice):
        inner = backend.token
    async with page(gateway, alice, f"token={inner}"):
        assert backend.token != inner


@pytest.mark.parametrize(
    "query",
    [
        f"token={TOKEN}&token=other",
        f"token=other&token={TOKEN}",
        f"token={TOKEN}&sid=AAAAAAAAAAAAAAAAAAAA&transport=polling",
        f"TOKEN=other&token={TOKEN}&EIO=3",
        f"token={TOKEN}%26sid%3DAAAA",
        f"token={TOKEN};sid=AAAA",
    ],
)
async def test_nothing_else_of_the_address_reaches_the_backend(gateway: Serving, backend: Backend, query: str) -> None:
    async with page(gateway, None, query):
        assert {name: len(values) for name, values in backend.came[-1].query.items()} == {
            "EIO": 1,
            "transport": 1,
            "token": 1,
        }
        assert (backend.came[-1].query["transport"], backend.came[-1].query["EIO"]) == (["websocket"], ["4"])
        assert len(backend.token) == 64


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "http://127.0.0.1"])
async def test_other_pages_get_no_socket(gateway: Serving, backend: Backend, origin: str | None) -> None:
    assert await refused(page(gateway, await gateway.signed_in(), origin=origin)) == 403
    assert backend.came == []


@pytest.mark.parametrize("query", ["EIO=4&transport=websocket", "token=", "token=" + "x" * 101])
async def test_a_socket_without_a_token_is_refused(gateway: Serving, backend: Backend, query: str) -> None:
    assert await refused(page(gateway, None, query)) == 422
    assert backend.came == []


async def test_visitors_leave_sockets_for_those_who_are_signed_in_and_nobody_opens_them_without_end(
    gateway: Serving, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await gateway.signed_in()
    monkeypatch.setattr(ui_socket, "MOST_SOCKETS", 2)
    monkeypatch.setattr(ui_socket, "MOST_SOCKETS_FOR_VISITORS", 1)
    async with page(gateway, None):
        assert await refused(page(gateway, None)) == 503
        async with page(gateway, alice):
            assert await refused(page(gateway, alice)) == 503
    await eventually(lambda: not backend.open, SOON_S, "the first is closed")
    async with page(gateway, None) as socket:
        await socket.send("again")
        assert await socket.recv() == "again"


async def test_a_backend_that_ends_closes_the_socket_so_that_the_page_comes_back(
    gateway: Serving, backend: Backend
) -> None:
    async with page(gateway, None) as socket:
        await eventually(lambda: backend.open, SOON_S, "the socket is passed on")
        for connection in list(backend.open):
            connection.transport.abort()
        assert await until_closed(socket) == 1001


async def test_a_socket_ends_with_its_session(
    gateway: Serving, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui_socket, "_CHECK_SESSION_EVERY_S", 0.1)
    alice = await gateway.signed_in()
    async with page(gateway, alice) as socket:
        gateway.parts.sessions.end(alice.cookies["wattfleet_session"])
        assert await until_closed(socket) == 1001


async def test_a_backend_that_is_away_is_said_to_be_restarting(
    settings: Settings, provider: Provider, signing_keys: SigningKeys
) -> None:
    wanted = replace(settings, ui_backend_url=f"http://127.0.0.1:{free_port()}")
    async with serving(wanted, provider, signing_keys) as gateway:
        assert await refused(page(gateway, None)) == 503
