"""What every request passes before anything else: a number, a look at where it comes from, and a line in the log.

Headers that protect the person's browser are on every answer, errors included. A write is taken from our own pages
only: browsers say truthfully which site a request comes from (`Sec-Fetch-Site`, or `Origin` in older ones), and a
request that says neither is no browser's. Neither addresses' queries nor cookies are ever logged.
"""

import logging
import re
import secrets
import time
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wattfleet_gateway.errors import problem_answer

logger = logging.getLogger("wattfleet_gateway.access")

REQUEST_ID_HEADER = "X-Request-Id"
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The number of the request that is being answered, to be passed on to the services that are asked for it."""

LARGEST_BODY_BYTES = 16_384
"""The largest body that we take is a socket's name."""

API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "Content-Security-Policy": API_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_HSTS = "max-age=31536000; includeSubDomains"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_USABLE_REQUEST_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
_LOGGED_PATH_CHARACTERS = 200

_REQUESTS = Counter("wattfleet_gateway_requests_total", "Requests answered", ["method", "route", "status"])
_DURATION = Histogram("wattfleet_gateway_request_seconds", "Time until the answer was sent", ["route"])
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class FrontDoor:
    """Wraps `app`, which browsers reach at the origin `public_url`."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._public_url = public_url
        self._headers = (
            {**_HEADERS, "Strict-Transport-Security": _HSTS} if public_url.startswith("https:") else _HEADERS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes a socket on untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID_HEADER, "")
        number = given if _USABLE_REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        request_id.set(number)
        scope.setdefault("state", {})
        began_s, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message, number)
            await send(message)

        try:
            refusal = self._elsewhere(scope, headers) or self._refusal(scope["method"], headers)
            await (refusal or self._app)(scope, receive, send_with_headers)
        except Exception:
            logger.exception("request failed", extra={"request": number})
            if status:
                raise  # Half an answer is out: cutting it off is the only way to say that it is not whole.
            detail = f"Something went wrong here. It has been noted as {number}."
            await problem_answer(HTTPStatus.INTERNAL_SERVER_ERROR, detail)(scope, receive, send_with_headers)
        finally:
            _note(scope, number, status, time.perf_counter() - began_s)

    def _elsewhere(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        # `localhost` and 127.0.0.1 are one machine, but two sites to a browser's cookies; people type either.
        host, wanted = headers.get("host", ""), urlsplit(self._public_url)
        if scope["method"] != "GET" or host == wanted.netloc or wanted.hostname not in _LOOPBACK:
            return None
        if not _is_loopback(host) or not _wants_a_page(headers):
            return None
        query = scope["query_string"].decode("latin-1")
        return RedirectResponse(self._public_url + scope["path"] + (query and f"?{query}"))

    def _refusal(self, method: str, headers: Headers) -> ASGIApp | None:
        if method in _SAFE_METHODS:
            return None
        if not self._from_our_pages(headers):
            return problem_answer(HTTPStatus.FORBIDDEN, "Changes are taken from our own pages only.")
        if "transfer-encoding" in headers:
            return problem_answer(HTTPStatus.LENGTH_REQUIRED, "Say how long the request is: no browser needs pieces.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
            return problem_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large.")
        return None

    def _from_our_pages(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        return site == "same-origin" if site else headers.get("origin") == self._public_url

    def _add_headers(self, message: Message, number: str) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        headers[REQUEST_ID_HEADER] = number


def _is_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _LOOPBACK
    except ValueError:  # a lone bracket
        return False


def _wants_a_page(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")


def _note(scope: Scope, number: str, status: int, duration_s: float) -> None:
    state: dict[str, Any] = scope["state"]
    route = getattr(scope.get("route"), "path", None) or "other"
    method = scope["method"] if scope["method"] in _METHODS else "other"
    _REQUESTS.labels(method, route, status).inc()
    _DURATION.labels(route).observe(duration_s)
    logger.info(
        "answered",
        extra={
            "request": number,
            "method": method,
            "path": scope["path"][:_LOGGED_PATH_CHARACTERS],
            "status": status,
            "duration_ms": round(duration_s * 1000, 1),
            "user": state.get("user_id"),
            "household": state.get("household"),
        },
    )
