"""The page's files: hashed ones for ever, the others asked for again, addresses inside the app answered by it."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio
from gateway_provider import Provider
from gateway_running import Serving, serving
from wattfleet_gateway.settings import Settings
from wattfleet_tenants.grants import SigningKeys

POLICY = "default-src 'none'; script-src 'self' 'sha256-abc='; frame-ancestors 'none'"
FILES = {
    "index.html": "<html>home</html>",
    "404.html": "<html>shell</html>",
    "sockets.html": "<html>sockets</html>",
    "assets/app-1a2b3c.js": "export {}",
    "favicon.ico": "icon",
    "content-security-policy.txt": POLICY + "\n",
}

TWIN = gzip.compress(FILES["assets/app-1a2b3c.js"].encode())


@pytest_asyncio.fixture
async def gateway(
    settings: Settings, provider: Provider, signing_keys: SigningKeys, tmp_path: Path
) -> AsyncIterator[Serving]:
    folder = tmp_path / "ui"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "assets/app-1a2b3c.js.gz").write_bytes(TWIN)
    (tmp_path / "secret.txt").write_text("not to be served")
    async with serving(replace(settings, ui_folder=folder), provider, signing_keys) as running:
        yield running


async def test_files_come_with_the_cache_life_that_fits_them(gateway: Serving) -> None:
    browser = await gateway.browser()
    for path, body, cached in (
        ("/", "<html>home</html>", "no-cache"),
        ("/assets/app-1a2b3c.js", "export {}", "public, max-age=31536000, immutable"),
        ("/favicon.ico", "icon", "no-cache"),
    ):
        answer = await browser.get(path)
        assert (answer.status_code, answer.text, answer.headers["cache-control"]) == (200, body, cached)
    again = await browser.get("/", headers={"If-None-Match": (await browser.get("/")).headers["etag"]})
    assert again.status_code == 304


async def test_whoever_takes_it_gets_the_compressed_twin(gateway: Serving) -> None:
    browser = await gateway.browser()
    for accepted, length in (("gzip, br", len(TWIN)), ("identity", len(FILES["assets/app-1a2b3c.js"]))):
        answer = await browser.get("/assets/app-1a2b3c.js", headers={"Accept-Encoding": accepted})
        assert answer.text == FILES["assets/app-1a2b3c.js"]
        assert int(answer.headers["content-length"]) == length
        assert answer.headers["content-type"].startswith("text/javascript")
        assert (answer.headers["vary"], answer.headers["cache-control"][:6]) == ("Accept-Encoding", "public")


async def test_pages_carry_the_exports_own_policy_and_forms_may_lead_to_the_provider(gateway: Serving) -> None:
    policy = (await (await gateway.browser()).get("/")).headers["content-security-policy"]
    assert policy == f"{POLICY}; form-action 'self' {gateway.provider.issuer}"


async def test_an_address_inside_the_app_is_answered_by_it(gateway: Serving) -> None:
    browser = await gateway.browser()
    browser.headers["Accept"] = "text/html,application/xhtml+xml"
    for path, body in (("/h/h7m2k9x4q8w1z5t3b", "<html>shell</html>"), ("/sockets", "<html>sockets</html>")):
        answer = await browser.get(path)
        assert (answer.status_code, answer.text, answer.headers["cache-control"]) == (200, body, "no-cache")
        assert "script-src" in answer.headers["content-security-policy"]


async def test_what_is_neither_file_nor_page_is_a_problem(gateway: Serving) -> None:
    browser = await gateway.browser()
    for path in (
        "/missing.js",
        "/assets/missing.js",
        "/content-security-policy.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/api/v1/nothing",
        "/auth/nothing",
        "/_event",
        "/nul%00.js",
    ):
        for accept in ("*/*", "text/html") if path.startswith(("/api", "/auth", "/_event")) else ("*/*",):
            answer = await browser.get(path, headers={"Accept": accept})
            assert answer.status_code == 404, path
            assert answer.headers["content-type"].startswith(("application/problem+json", "text/html")), path
            assert "not to be served" not in answer.text
    assert (await browser.post("/")).status_code == 405
