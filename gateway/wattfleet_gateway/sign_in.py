"""Signing in and out: a walk through the browser, from here to the identity provider and back.

The person's tokens never reach the browser. What comes back is believed only together with the sealed cookie of the
very browser that set out, and leads only to a path of our own pages.
"""

import logging
import re
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from prometheus_client import Counter

from wattfleet_gateway.errors import documented
from wattfleet_gateway.identity_provider import Person, SignInRefused, new_attempt
from wattfleet_gateway.sessions import LIFETIME_S
from wattfleet_gateway.wiring import gateway_of

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/auth", tags=["sign-in"], responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY))

_SIGN_INS = Counter("wattfleet_gateway_sign_ins_total", "How sign-ins ended", ["result"])
_SEE_OTHER = HTTPStatus.SEE_OTHER.value
# One slash, then no second one: `//host` and `/\host` leave our origin, and browsers drop tabs and line ends.
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
_LONGEST_PATH = 500


def own_path(text: str) -> str:
    """`text` when it is a path of our own pages, else "/": a link made by somebody else must not lead elsewhere."""
    if len(text) > _LONGEST_PATH or not _OWN_PATH.fullmatch(text):
        return "/"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or parts.path.startswith("/auth/") else text


@router.get("/sign-in", response_class=RedirectResponse, status_code=_SEE_OTHER)
async def sign_in(request: Request, return_to: Annotated[str, Query(max_length=4096)] = "/") -> RedirectResponse:
    """Sends the browser to the identity provider; afterwards it comes back to `return_to`, a path of ours."""
    gateway = gateway_of(request)
    attempt = new_attempt(own_path(return_to))
    response = RedirectResponse(await gateway.provider.authorization_url(attempt), _SEE_OTHER)
    gateway.cookies.set_attempt(response, attempt)
    return response


@router.get("/callback", response_class=RedirectResponse, status_code=_SEE_OTHER)
async def callback(
    request: Request, state: str = "", code: str = "", error: str = "", iss: str | None = None
) -> RedirectResponse:
    """Where the identity provider sends the browser back to."""
    gateway = gateway_of(request)
    attempt = gateway.cookies.attempt(request.cookies, state)
    if attempt is None:
        _SIGN_INS.labels("unknown-attempt").inc()
        raise SignInRefused("This sign-in was not begun in this browser, or too long ago. Please try again.")
    # RFC 9207: the provider names itself in the answer, so that two providers cannot be mixed up.
    if error or not code or iss not in (None, gateway.settings.oidc.issuer):
        _SIGN_INS.labels("refused-by-provider").inc()
        logger.info("sign-in refused by the provider", extra={"reason": error[:60]})
        raise SignInRefused("The sign-in was not completed.")
    try:
        person = await gateway.provider.identify(code, attempt)
    except SignInRefused as refused:
        _SIGN_INS.labels("not-proven").inc()
        logger.warning("sign-in not proven", extra={"reason": type(refused.__cause__).__name__})
        raise
    cookie = await run_in_threadpool(_begin, request, person)
    response = RedirectResponse(attempt.return_to, _SEE_OTHER)
    gateway.cookies.forget_attempt(response, state)
    gateway.cookies.set_session(response, cookie, LIFETIME_S)
    return response


@router.post("/sign-out", response_class=RedirectResponse, status_code=_SEE_OTHER)
async def sign_out(request: Request) -> RedirectResponse:
    """Ends the session here, then at the provider where it can."""
    gateway = gateway_of(request)
    id_token = await run_in_threadpool(gateway.sessions.end, gateway.cookies.session(request.cookies))
    elsewhere = id_token and await gateway.provider.end_session_url(id_token, gateway.settings.public_url + "/")
    response = RedirectResponse(elsewhere or "/", _SEE_OTHER)
    gateway.cookies.forget_session(response)
    return response


def _begin(request: Request, person: Person) -> str:
    gateway = gateway_of(request)
    user_id = gateway.store.ensure_user(person.issuer, person.subject, person.name)
    gateway.sessions.end(gateway.cookies.session(request.cookies))
    _SIGN_INS.labels("signed-in").inc()
    logger.info("signed in", extra={"user": user_id})
    return gateway.sessions.start(user_id, person.id_token)
