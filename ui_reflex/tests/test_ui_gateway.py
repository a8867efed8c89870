"""The gateway's client: each person's own cookie, errors told apart, nothing remembered."""

import httpx
import pytest
from wattfleet_ui.gateway import Gateway, GatewayUnavailableError, NotSignedInError, UnknownHomeError, new_client


def answering(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> httpx.AsyncClient:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return new_client("http://gateway.test", httpx.MockTransport(handle))


async def test_one_persons_cookie_never_reaches_anothers_request() -> None:
    seen: list[httpx.Request] = []
    setting = httpx.Response(200, json={"name": "Alice"}, headers={"Set-Cookie": "wattfleet_session=alice-renewed"})
    async with answering(setting, seen) as client:
        await Gateway("wattfleet_session=alice", client).viewer()
        await Gateway("wattfleet_session=bob", client).viewer()
        await Gateway("", client).viewer()
    assert [request.headers.get("cookie") for request in seen] == [
        "wattfleet_session=alice",
        "wattfleet_session=bob",
        None,
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401, json={"title": "Not signed in"}), NotSignedInError),
        (httpx.Response(404, json={"title": "No such household"}), UnknownHomeError),
        (httpx.Response(503), GatewayUnavailableError),
        (httpx.Response(200, text="<html>"), GatewayUnavailableError),
        (httpx.Response(200, json={"unexpected": 1}), GatewayUnavailableError),
        (httpx.ConnectError("refused"), GatewayUnavailableError),
        (httpx.ReadTimeout("slow"), GatewayUnavailableError),
    ],
)
async def test_each_failure_is_one_of_three_errors(answer: httpx.Response | Exception, error: type[Exception]) -> None:
    async with answering(answer) as client:
        with pytest.raises(error):
            await Gateway("wattfleet_session=alice", client).viewer()


async def test_a_home_is_added_as_the_pages_own_wish() -> None:
    seen: list[httpx.Request] = []
    home = {"id": "h1", "name": "Boat", "time_zone": "UTC", "ready": False, "reason": "NotReported", "placed": False}
    async with answering(httpx.Response(201, json=home), seen) as client:
        added = await Gateway("wattfleet_session=alice", client).add_household("Boat", "UTC")
    assert (added.id, added.placed) == ("h1", False)
    [request] = seen
    assert (request.method, request.url.path) == ("POST", "/api/v1/households")
    assert request.headers["sec-fetch-site"] == "same-origin"
    assert request.headers["cookie"] == "wattfleet_session=alice"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(409, json={"title": "Conflict", "detail": "You have enough homes."}), "You have enough homes."),
        (
            httpx.Response(422, json={"detail": "Not so.", "errors": [{"where": "name", "what": "Value error, no"}]}),
            "no",
        ),
        (httpx.Response(502, text="<html>"), ""),
        (httpx.ConnectError("refused"), ""),
    ],
)
async def test_what_the_gateway_says_itself_is_kept_for_the_person(
    answer: httpx.Response | Exception, words: str
) -> None:
    async with answering(answer) as client:
        with pytest.raises(GatewayUnavailableError) as refusal:
            await Gateway("", client).add_household("Boat", "UTC")
    assert refusal.value.words == words


async def test_fields_added_to_an_answer_later_do_no_harm() -> None:
    async with answering(httpx.Response(200, json={"name": "Alice", "language": "en"})) as client:
        assert (await Gateway("", client).viewer()).name == "Alice"


async def test_a_new_name_is_sent_as_the_pages_own_wish() -> None:
    seen: list[httpx.Request] = []
    async with answering(httpx.Response(200, json={}), seen) as client:
        await Gateway("wattfleet_session=alice", client).rename_socket("h0000000000000alice", 3, "Cooker")
    [request] = seen
    assert (request.method, request.url.path) == ("PATCH", "/api/v1/households/h0000000000000alice/sockets/3")
    assert request.headers["sec-fetch-site"] == "same-origin"
