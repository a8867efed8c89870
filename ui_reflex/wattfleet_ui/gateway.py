"""The gateway's HTTP API as this page sees it: typed answers, three errors, nothing kept.

The page's backend holds no rights of its own. Every call carries the cookie of the person whose tab asked, and the
gateway decides what that person may see; so a mistake here can show too little, never somebody else's home.
"""

import os
from datetime import date, datetime
from functools import cache
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

# A page that has waited 10 s for one answer does better with a "Try again".
TIMEOUT_S = 10.0

SocketCondition = Literal["online", "offline", "silent"]


class Answer(BaseModel):
    """What the gateway said; fields that it may add later are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Viewer(Answer):
    """The signed-in person."""

    name: str
    may_add_home: bool = False


class Household(Answer):
    """A home that the viewer may see; `time_zone` is an IANA name, `reason` says why it is not `ready`.

    There are no readings to ask for before it is `placed`. `home_file_command`: how its agent's file is got at.
    """

    id: str
    name: str
    time_zone: str
    ready: bool
    reason: str
    placed: bool = True
    home_file_command: str = ""


class SocketNow(Answer):
    """A socket's newest reading: watts, and the start of its interval in ms; None unless it is online."""

    number: int
    name: str
    power_w: float | None
    at_ms: int | None
    state: SocketCondition


class Now(Answer):
    """The home's newest readings; the sum in watts is over the sockets that are online."""

    power_w: float | None
    at_ms: int | None
    sockets: list[SocketNow]


class SocketRange(Answer):
    """Mean watts of a socket per bucket (None: not measured) and how much of the bucket was measured, 0..1."""

    number: int
    name: str
    mean_power_w: list[float | None]
    measured: list[float]


class Range(Answer):
    """Buckets of `step_s` seconds that begin at `start_ms`."""

    step_s: int
    start_ms: list[int]
    sockets: list[SocketRange]


class SocketEnergy(Answer):
    """Watt-hours of a socket per local hour, day or month (None: not measured)."""

    number: int
    name: str
    energy_wh: list[float | None]
    measured: list[float]


class Energy(Answer):
    """Buckets of the household's own calendar, from `start_ms` to `end_ms`."""

    by: str
    time_zone: str
    start_ms: list[int]
    end_ms: list[int]
    sockets: list[SocketEnergy]


class Quarantined(Answer):
    """Messages of this home that were refused for one reason, and when the last one came."""

    reason: str
    count: int
    last_ms: int


class NotSignedInError(Exception):
    """The gateway knows no session for this tab's cookie."""


class UnknownHomeError(Exception):
    """There is no such home, or it is somebody else's; the gateway does not say which."""


class GatewayUnavailableError(Exception):
    """The gateway did not answer, or not as agreed; the cause is chained.

    words: what it said itself, for the person to read; empty when it said nothing.
    """

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words


AnswerType = TypeVar("AnswerType")


class Gateway:
    """The gateway's API on behalf of one person, by the `Cookie` header of that person's tab.

    Every method raises `NotSignedInError`, `UnknownHomeError` or `GatewayUnavailableError`.
    """

    def __init__(self, cookie: str, client: httpx.AsyncClient | None = None) -> None:
        self._headers = {"Cookie": cookie} if cookie else {}
        self._client = client or _shared_client()

    async def viewer(self) -> Viewer:
        """Who is signed in."""
        return await self._get("/api/v1/viewer", TypeAdapter(Viewer))

    async def households(self) -> list[Household]:
        """The viewer's homes."""
        return await self._get("/api/v1/households", TypeAdapter(list[Household]))

    async def now(self, household: str) -> Now:
        """The newest readings of a home."""
        return await self._get(f"/api/v1/households/{household}/readings/now", TypeAdapter(Now))

    async def range(self, household: str, start: datetime, end: datetime, step_s: int) -> Range:
        """Mean power per bucket between two times that carry their offset."""
        query = {"start": start.isoformat(), "end": end.isoformat(), "step_s": str(step_s)}
        return await self._get(f"/api/v1/households/{household}/readings/range", TypeAdapter(Range), query)

    async def energy(self, household: str, start: date, end: date, by: str) -> Energy:
        """Energy per local hour, day or month from one local date up to, not including, another."""
        query = {"start": start.isoformat(), "end": end.isoformat(), "by": by}
        return await self._get(f"/api/v1/households/{household}/readings/energy", TypeAdapter(Energy), query)

    async def quarantine(self, household: str) -> list[Quarantined]:
        """What was refused of this home."""
        return await self._get(f"/api/v1/households/{household}/quarantine", TypeAdapter(list[Quarantined]))

    async def rename_socket(self, household: str, number: int, name: str) -> None:
        """Give a socket another name."""
        await self._change("PATCH", f"/api/v1/households/{household}/sockets/{number}", {"name": name})

    async def add_household(self, name: str, time_zone: str) -> Household:
        """Add a home of the viewer."""
        path = "/api/v1/households"
        response = await self._change("POST", path, {"name": name, "time_zone": time_zone})
        return _read(path, response, TypeAdapter(Household))

    async def _change(self, method: str, path: str, wish: dict[str, str]) -> httpx.Response:
        # The browser sent the event from our own page over a socket whose origin was checked; say so to the gateway.
        return await self._send(method, path, json=wish, headers={**self._headers, "Sec-Fetch-Site": "same-origin"})

    async def _get(self, path: str, answer: TypeAdapter[AnswerType], query: dict[str, str] | None = None) -> AnswerType:
        return _read(path, await self._send("GET", path, params=query, headers=self._headers), answer)

    async def _send(self, method: str, path: str, **request: object) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **request)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise GatewayUnavailableError(f"{path}: {type(error).__name__}") from error
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise NotSignedInError
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise UnknownHomeError
        if response.is_error:
            raise GatewayUnavailableError(f"{path}: HTTP {response.status_code}", _words(response))
        return response


def _read(path: str, response: httpx.Response, answer: TypeAdapter[AnswerType]) -> AnswerType:
    try:
        return answer.validate_json(response.content)
    except ValidationError as error:
        raise GatewayUnavailableError(f"{path}: the answer is not as agreed") from error


class _Wrong(Answer):
    """What is wrong with one part of a request."""

    what: str


class _Problem(Answer):
    """The part of a problem document (RFC 9457) that people read."""

    detail: str
    errors: list[_Wrong] = []


def _words(response: httpx.Response) -> str:
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        return ""
    return "; ".join(wrong.what.removeprefix("Value error, ") for wrong in problem.errors) or problem.detail


def new_client(base_url: str, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client that keeps connections but never a cookie: many people share it, and each brings their own."""
    refuse_all = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(
        base_url=base_url, timeout=TIMEOUT_S, cookies=refuse_all, transport=transport, trust_env=False
    )


@cache
def _shared_client() -> httpx.AsyncClient:
    return new_client(os.environ.get("WATTFLEET_GATEWAY_URL", "http://127.0.0.1:8080"))
