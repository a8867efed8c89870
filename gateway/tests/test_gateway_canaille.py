"""Sign-in against Canaille, the provider that the demo embeds, through its own pages."""

import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from gateway_provider import CLIENT_ID
from gateway_running import Serving, serving
from wattfleet_gateway.settings import OidcClient, Settings
from wattfleet_tenants.grants import SigningKeys
from wattfleet_tenants.testing.programs import Program, find_program, free_port

PASSWORD = "alice's own password"
CONFIGURATION = """
SECRET_KEY = "{key}"
PREFERRED_URL_SCHEME = "http"
SERVER_NAME = "127.0.0.1:{port}"
TRUSTED_HOSTS = ["127.0.0.1:{port}"]
[CANAILLE]
DATABASE = "sql"
HTMX = false
[CANAILLE_SQL]
DATABASE_URI = "sqlite:///{database}"
"""


def seed(secret: str, our_url: str) -> str:
    client = "c11e0000-0000-4000-8000-000000000003"
    return json.dumps(
        {
            "user": [
                {
                    "id": "a11ce000-0000-4000-8000-000000000001",
                    "user_name": "alice",
                    "password": PASSWORD,
                    "family_name": "Ampere",
                    "formatted_name": "Alice Ampere",
                    "emails": ["alice@wattfleet.example"],
                }
            ],
            "client": [
                {
                    "id": client,
                    "audience": [client],
                    "client_id": CLIENT_ID,
                    "client_secret": secret,
                    "client_uri": our_url,
                    "redirect_uris": [f"{our_url}/auth/callback"],
                    "post_logout_redirect_uris": [f"{our_url}/"],
                    "grant_types": ["authorization_code"],
                    "response_types": ["code"],
                    "token_endpoint_auth_method": "client_secret_basic",
                    "id_token_signed_response_alg": "RS256",
                    "scope": ["openid", "profile"],
                }
            ],
        }
    )


class Form(HTMLParser):
    """The fields of a page's forms, with what is in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "input" and (name := found.get("name")):
            self.fields[name] = found.get("value") or ""


@pytest.fixture
def at_canaille(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The same settings, with a Canaille that knows Alice and us."""
    try:
        program = os.environ.get("WATTFLEET_CANAILLE") or find_program("canaille", "../canaille/bin/canaille")
    except FileNotFoundError:
        pytest.skip("Canaille is not installed: `make test` fetches it")
    port, secret = free_port(), secrets.token_urlsafe(24)
    configuration = tmp_path / "canaille.toml"
    configuration.write_text(
        CONFIGURATION.format(key=secrets.token_urlsafe(32), port=port, database=tmp_path / "canaille.sqlite")
    )
    environment = {**os.environ, "CANAILLE_CONFIG": str(configuration)}
    for command, told in (("install", ""), ("restore", seed(secret, settings.public_url))):
        subprocess.run(
            [program, command], env=environment, cwd=tmp_path, input=told, text=True, check=True, capture_output=True
        )
    issuer = f"http://127.0.0.1:{port}"
    run = (program, "run", "--bind", f"127.0.0.1:{port}", "--workers", "0", "--graceful-timeout", "1")
    canaille = Program(run, tmp_path / "canaille.log", lambda: _answers(issuer))
    canaille.env = environment
    canaille.start()
    yield replace(settings, oidc=OidcClient(issuer, CLIENT_ID, secret))
    canaille.kill()


def _answers(issuer: str) -> bool:
    try:
        return httpx2.get(f"{issuer}/.well-known/openid-configuration", verify=False).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest_asyncio.fixture
async def gateway(at_canaille: Settings, signing_keys: SigningKeys) -> AsyncIterator[Serving]:
    async with serving(at_canaille, None, signing_keys) as running:
        yield running


async def fill_in(browser: httpx2.AsyncClient, page: httpx2.Response, **fields: str) -> httpx2.Response:
    form = Form(page.text).fields
    assert fields.keys() <= form.keys(), form
    return await browser.post(page.url, data=form | fields, follow_redirects=True)


async def test_alice_signs_in_and_out_through_canailles_own_pages(gateway: Serving) -> None:
    browser = await gateway.browser()
    login = await browser.get("/auth/sign-in?return_to=/api/v1/viewer", follow_redirects=True)
    password = await fill_in(browser, login, login="alice")
    back = await fill_in(browser, password, password=PASSWORD)
    assert (back.url.path, back.json()["name"]) == ("/api/v1/viewer", "Alice Ampere")
    signed_out = await browser.post("/auth/sign-out", follow_redirects=True)
    assert str(signed_out.url) == f"{gateway.url}/"
    assert (await browser.get("/api/v1/viewer")).status_code == 401
    again = await browser.get("/auth/sign-in", follow_redirects=True)
    assert "password" in Form((await fill_in(browser, again, login="alice")).text).fields
