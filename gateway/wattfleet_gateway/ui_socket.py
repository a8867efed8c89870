"""The page's own socket, passed through to Reflex, which believes any token it is shown.

Reflex keeps a tab's state under the token in the socket's address and asks no more: whoever knows Alice's token gets
Alice's state. So its backend never sees a token of the browser's making. It sees HMAC(session | token), and a token
that is carried to another session is another token there. Of everything else in the address only what the transport
needs is passed on: engine.io would take a `sid` for an invitation to join another's connection.
Reflex 0.10 speaks websocket alone, so no other path of its backend is reachable from outside.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlencode

import websockets
from fastapi.concurrency import run_in_threadpool
from prometheus_client import Gauge
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from wattfleet_gateway.cookies import derived_key
from wattfleet_gateway.errors import problem_answer
from wattfleet_gateway.sessions import SignedIn
from wattfleet_gateway.wiring import gateway_of

logger = logging.getLogger(__name__)

MOST_SOCKETS = 2_000
"""A Reflex worker lags long before; this bounds what all browsers together can cost."""
MOST_SOCKETS_FOR_VISITORS = 1_000
"""From here on only people who are signed in get one: one visitor had 600 open within five seconds."""
_LONGEST_TOKEN = 100
# A page's whole state travels in one message when it loads.
_LARGEST_FROM_BACKEND_BYTES = 16 * 2**20
_CONNECT_TIMEOUT_S = 5.0
_CHECK_SESSION_EVERY_S = 15.0
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013

_SOCKETS = Gauge("wattfleet_gateway_ui_sockets", "Open sockets of pages")


class UiSocket:
    """Passes sockets on to the Reflex backend at `backend_url` (http://host:port)."""

    def __init__(self, backend_url: str, secret: bytes) -> None:
        self._address = "ws" + backend_url.removeprefix("http").rstrip("/") + "/_event/"
        self._key = derived_key(secret, "Reflex client token")
        self._open = 0

    @property
    def routes(self) -> list[WebSocketRoute]:
        """Where browsers connect."""
        return [WebSocketRoute("/_event", self._pass_on), WebSocketRoute("/_event/", self._pass_on)]

    def backend_token(self, signed_in: SignedIn | None, token: str) -> str:
        """What the backend sees instead of `token`; everybody who is not signed in shares one namespace."""
        # A session id has 64 characters, so no token can look like one.
        owner = signed_in.session_id if signed_in else "nobody"
        return hmac.new(self._key, f"{owner}|{token}".encode(), hashlib.sha256).hexdigest()

    async def _pass_on(self, browser: WebSocket) -> None:
        gateway = gateway_of(browser)
        token = browser.query_params.get("token", "")
        if browser.headers.get("origin") != gateway.settings.public_url:
            await _refuse(browser, HTTPStatus.FORBIDDEN, "This socket is for our own pages only.")
        elif not 0 < len(token) <= _LONGEST_TOKEN:
            await _refuse(browser, HTTPStatus.UNPROCESSABLE_ENTITY, "The address needs a token.")
        else:
            await self._let_in(browser, token)

    async def _let_in(self, browser: WebSocket, token: str) -> None:
        gateway = gateway_of(browser)
        cookie = gateway.cookies.session(browser.cookies)
        signed_in = await run_in_threadpool(gateway.sessions.find, cookie)
        if self._open >= (MOST_SOCKETS if signed_in else MOST_SOCKETS_FOR_VISITORS):
            await _refuse(browser, HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are open. Try again soon.")
            return
        self._open += 1
        try:
            with _SOCKETS.track_inprogress():
                await self._connect(browser, token, cookie, signed_in)
        finally:
            self._open -= 1

    async def _connect(self, browser: WebSocket, token: str, cookie: str | None, signed_in: SignedIn | None) -> None:
        gateway = gateway_of(browser)
        query = {"EIO": "4", "transport": "websocket", "token": self.backend_token(signed_in, token)}
        session = f"{gateway.cookies.session_name}={cookie}" if signed_in else None
        protocols = browser.scope.get("subprotocols", [])[:1]
        try:
            backend = await connect(
                f"{self._address}?{urlencode(query)}",
                origin=websockets.Origin(gateway.settings.public_url),
                additional_headers=_passed_headers(browser, session),
                subprotocols=[Subprotocol(name) for name in protocols] or None,
                open_timeout=_CONNECT_TIMEOUT_S,
                max_size=_LARGEST_FROM_BACKEND_BYTES,
                compression=None,
                user_agent_header=None,
                proxy=None,
            )
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            logger.warning("page backend unreachable", extra={"error": type(error).__name__})
            await _refuse(browser, HTTPStatus.SERVICE_UNAVAILABLE, "The page is being restarted. Try again soon.")
            return
        async with backend:
            await browser.accept(subprotocol=backend.subprotocol)
            await _until_first(
                _to_backend(browser, backend),
                _to_browser(browser, backend),
                _until_session_ends(signed_in, gateway.sessions.renew),
            )
        await _close(browser)


async def _until_first(*works: Awaitable[None]) -> None:
    """Runs all until one is done, then stops the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _to_backend(browser: WebSocket, backend: ClientConnection) -> None:
    while (message := await browser.receive())["type"] == "websocket.receive":
        text = message.get("text")
        await backend.send(message["bytes"] if text is None else text)


async def _to_browser(browser: WebSocket, backend: ClientConnection) -> None:
    async for message in backend:
        await (browser.send_text(message) if isinstance(message, str) else browser.send_bytes(message))


async def _until_session_ends(signed_in: SignedIn | None, renew: Callable[[str], SignedIn | None]) -> None:
    while True:
        await asyncio.sleep(_CHECK_SESSION_EVERY_S)
        if signed_in and await run_in_threadpool(renew, signed_in.session_id) is None:
            return


async def _close(browser: WebSocket) -> None:
    """The browser's script sees an end that was not asked for, and connects again."""
    try:
        await browser.close(_GOING_AWAY)
    except (RuntimeError, WebSocketDisconnect):
        return  # It has gone already.


def _passed_headers(browser: WebSocket, session: str | None) -> dict[str, str]:
    headers = {"User-Agent": browser.headers.get("user-agent", "")}
    if session:
        headers["Cookie"] = session
    return headers


async def _refuse(browser: WebSocket, status: HTTPStatus, detail: str) -> None:
    await browser.send_denial_response(problem_answer(status, detail))
