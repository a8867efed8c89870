"""What every answer carries, what every write must prove, and what the log says of it."""

import json
import logging
from dataclasses import replace

import pytest
from gateway_running import Serving
from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.settings import Settings
from wattfleet_tenants.telemetry import logs

PATHS = ("/api/v1/viewer", "/api/openapi.json", "/nothing", "/auth/callback", "/api/v1/households/x/readings/range")


async def test_every_answer_protects_the_browser(gateway: Serving) -> None:
    browser = await gateway.browser()
    for path in PATHS:
        headers = (await browser.get(path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["x-request-id"]
        assert "server" not in headers or "uvicorn" in headers["server"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({}, 403),
        ({"Origin": "OURS"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "OURS"}, 403),
    ],
)
async def test_writes_are_taken_from_our_own_pages_only(gateway: Serving, headers: dict[str, str], status: int) -> None:
    home = gateway.home_of("alice")
    alice = await gateway.signed_in()
    del alice.headers["Origin"]
    said = {name: value.replace("OURS", gateway.url) for name, value in headers.items()}
    answer = await alice.patch(f"/api/v1/households/{home}/sockets/1", json={"name": "New"}, headers=said)
    assert answer.status_code == status, answer.text


async def test_a_body_that_is_too_large_is_refused_however_it_comes(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    alice = await gateway.signed_in()
    path = f"/api/v1/households/{home}/sockets/1"

    async def in_pieces():
        for _ in range(20):
            yield b"x" * 1000

    for body, status in ((b"x" * 20_000, 413), (in_pieces(), 411)):
        answer = await alice.patch(path, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_an_address_that_is_not_ours_is_never_believed(gateway: Serving) -> None:
    browser = await gateway.browser()
    answer = await browser.get("/auth/sign-in", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert (
        f"redirect_uri={gateway.url.replace(':', '%3A').replace('/', '%2F')}%2Fauth%2Fcallback"
        in answer.headers["location"]
    )
    assert "evil" not in answer.headers["location"]


async def test_a_page_on_localhost_is_led_to_the_address_that_cookies_know(gateway: Serving) -> None:
    browser = await gateway.browser()
    port = gateway.settings.port
    headers = {"Host": f"localhost:{port}", "Accept": "text/html"}
    answer = await browser.get("/h/mine?range=7d", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{gateway.url}/h/mine?range=7d")
    api = await browser.get("/api/v1/viewer", headers={"Host": f"localhost:{port}"})
    assert api.status_code == 401
    foreign = await browser.get("/h/mine", headers={"Host": "evil.example", "Accept": "text/html"})
    assert foreign.status_code == 404


@pytest.mark.parametrize("host", ["[", "[::1", "a/b?c", "localhost:x"])
async def test_a_host_that_is_none_is_no_error_of_ours(gateway: Serving, host: str) -> None:
    browser = await gateway.browser()
    for path, status in (("/h/mine", 404), ("/api/v1/viewer", 401), ("/auth/callback", 400)):
        answer = await browser.get(path, headers={"Host": host, "Accept": "application/json"})
        assert answer.status_code == status, path


def test_over_https_browsers_are_told_to_stay_there(elsewhere: Settings) -> None:
    from starlette.testclient import TestClient

    app = create_app(elsewhere, Ports(None, None, None))  # type: ignore[arg-type]
    with TestClient(app, base_url="https://home.example") as client:
        assert "max-age" in client.get("/api/v1/viewer").headers["strict-transport-security"]


async def test_a_request_is_one_line_with_who_and_whose_but_no_secrets(
    gateway: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    home = gateway.home_of("alice")
    alice = await gateway.signed_in()
    caplog.set_level(logging.INFO, "wattfleet_gateway.access")
    caplog.clear()
    answer = await alice.get(
        f"/api/v1/households/{home}/quarantine?secret=hunter2", headers={"X-Request-Id": "from-the-page-1"}
    )
    assert answer.headers["x-request-id"] == "from-the-page-1"
    (record,) = [record for record in caplog.records if record.name == "wattfleet_gateway.access"]
    line = json.loads(logs._Formatter("gateway").format(record))
    assert {name: line[name] for name in ("request", "household", "status", "method")} == {
        "request": "from-the-page-1",
        "household": home,
        "status": 200,
        "method": "GET",
    }
    assert isinstance(line["user"], int)
    assert line["duration_ms"] >= 0
    assert "hunter2" not in json.dumps(line)
    assert alice.cookies["wattfleet_session"] not in json.dumps(line)


@pytest.mark.parametrize("number", ["short", "with space", "x" * 65, "new\tline", "ünïcode-number"])
async def test_a_request_number_that_is_none_is_replaced(gateway: Serving, number: str) -> None:
    answer = await (await gateway.browser()).get("/nothing", headers={"X-Request-Id": number.encode()})
    assert answer.headers["x-request-id"] != number
    assert len(answer.headers["x-request-id"]) == 16


def test_secrets_of_the_settings_are_not_printed(settings: Settings) -> None:
    for secret in (settings.signing_key, settings.oidc.client_secret, settings.secret.decode(), "gateway.db"):
        assert secret not in repr(replace(settings))
