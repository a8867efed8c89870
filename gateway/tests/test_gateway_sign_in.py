"""Sign-in against a real provider: what is believed, what is not, and what a browser ends up with."""

import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import pytest
from gateway_running import Serving
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.settings import Settings
from wattfleet_gateway.sign_in import own_path

SESSION = "wattfleet_session"


async def walk(gateway: Serving, browser: httpx2.AsyncClient, **query: str) -> httpx2.Response:
    """From the sign-in link to the provider and back; the answer to the callback."""
    to_provider = await browser.get("/auth/sign-in", params=query)
    back = await browser.get(to_provider.headers["location"])
    return await browser.get(back.headers["location"])


async def test_a_person_who_signs_in_comes_back_to_the_page_they_wanted(gateway: Serving) -> None:
    browser = await gateway.browser()
    answer = await walk(gateway, browser, return_to="/h/mine?range=7d")
    assert (answer.status_code, answer.headers["location"]) == (303, "/h/mine?range=7d")
    assert (await browser.get("/api/v1/viewer")).json()["name"] == "Alice Ampere"


async def test_the_session_cookie_is_opaque_and_out_of_reach(gateway: Serving) -> None:
    answer = await walk(gateway, await gateway.browser())
    cookie = next(
        SimpleCookie(line)[SESSION] for line in answer.headers.get_list("set-cookie") if line.startswith(SESSION)
    )
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/")
    assert len(cookie.value) == 43
    stored = gateway.parts.sessions.find(cookie.value)
    assert stored is not None
    assert cookie.value not in stored.session_id


def test_over_https_cookies_are_secure_and_bound_to_our_host(elsewhere: Settings) -> None:
    from starlette.responses import Response

    app = create_app(elsewhere, Ports(None, None, None))  # type: ignore[arg-type]
    response = Response()
    app.state.gateway.cookies.set_session(response, "value", 60)
    (cookie,) = response.headers.getlist("set-cookie")
    assert cookie.startswith("__Host-wattfleet_session=value;")
    assert "Secure" in cookie
    assert "Domain" not in cookie


async def test_a_new_sign_in_ends_the_old_session(gateway: Serving) -> None:
    browser = await gateway.signed_in()
    old = browser.cookies[SESSION]
    await walk(gateway, browser)
    assert browser.cookies[SESSION] != old
    assert gateway.parts.sessions.find(old) is None


async def test_signing_out_ends_the_session_here_and_at_the_provider(gateway: Serving) -> None:
    browser = await gateway.signed_in()
    old = browser.cookies[SESSION]
    answer = await browser.post("/auth/sign-out", follow_redirects=True)
    assert str(answer.url) == f"{gateway.url}/"
    (asked,) = gateway.provider.signed_out
    assert asked["post_logout_redirect_uri"] == f"{gateway.url}/"
    assert asked["id_token_hint"]
    assert gateway.parts.sessions.find(old) is None
    assert (await browser.get("/api/v1/viewer")).status_code == 401


async def test_signing_out_without_a_session_leads_home(gateway: Serving) -> None:
    answer = await (await gateway.browser()).post("/auth/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_another_site_cannot_sign_anybody_out(gateway: Serving) -> None:
    browser = await gateway.signed_in()
    answer = await browser.post("/auth/sign-out", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert (await browser.get("/api/v1/viewer")).status_code == 200


async def test_people_are_known_by_issuer_and_subject_never_by_name(gateway: Serving) -> None:
    gateway.home_of("alice", "Alice's house")
    namesake = await gateway.signed_in("another-alice", "Alice Ampere")
    assert (await namesake.get("/api/v1/households")).json() == []
    renamed = await gateway.signed_in("alice", "Alice Watt")
    assert (await renamed.get("/api/v1/viewer")).json()["name"] == "Alice Watt"
    assert [home["name"] for home in (await renamed.get("/api/v1/households")).json()] == ["Alice's house"]


async def test_a_name_that_the_id_token_lacks_is_asked_for(gateway: Serving) -> None:
    gateway.provider.who = {"sub": "alice"}
    gateway.provider.userinfo = {"sub": "alice", "name": "Alice of the userinfo"}
    browser = await gateway.browser()
    await walk(gateway, browser)
    assert (await browser.get("/api/v1/viewer")).json()["name"] == "Alice of the userinfo"


async def test_somebody_elses_userinfo_is_not_taken(gateway: Serving) -> None:
    gateway.provider.who = {"sub": "alice"}
    gateway.provider.userinfo = {"sub": "bob", "name": "Bob"}
    browser = await gateway.browser()
    await walk(gateway, browser)
    assert (await browser.get("/api/v1/viewer")).json()["name"] == ""


Twist = Callable[[dict[str, Any]], dict[str, Any]]

NOT_BELIEVED: dict[str, Twist] = {
    "made out to another client": lambda claims: claims | {"aud": ["somebody-else"]},
    "made out to nobody": lambda claims: claims | {"aud": []},
    "made out to us and handed to another": lambda claims: claims | {"azp": "somebody-else"},
    "by another issuer": lambda claims: claims | {"iss": "https://evil.example"},
    "without an issuer": lambda claims: {key: value for key, value in claims.items() if key != "iss"},
    "for another attempt": lambda claims: claims | {"nonce": "another"},
    "for no attempt": lambda claims: {key: value for key, value in claims.items() if key != "nonce"},
    "expired": lambda claims: claims | {"exp": int(time.time()) - 120},
    "not valid yet": lambda claims: claims | {"nbf": int(time.time()) + 3600},
    "about nobody": lambda claims: claims | {"sub": ""},
    "about a number": lambda claims: claims | {"sub": 7},
}


@pytest.mark.parametrize("twist", NOT_BELIEVED.values(), ids=NOT_BELIEVED.keys())
async def test_an_id_token_is_not_believed(gateway: Serving, twist: Twist) -> None:
    gateway.provider.twist = twist
    await refused(gateway)


@pytest.mark.parametrize("how", ["unsigned", "signed_with_the_public_key", "signed_by_another"])
async def test_a_forged_id_token_is_not_believed(gateway: Serving, how: str) -> None:
    gateway.provider.forge = getattr(gateway.provider, how)
    await refused(gateway)


async def refused(gateway: Serving) -> None:
    browser = await gateway.browser()
    answer = await walk(gateway, browser)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert SESSION not in browser.cookies


async def test_a_rotated_key_is_fetched_when_it_is_first_seen(gateway: Serving) -> None:
    from wattfleet_gateway import identity_provider

    await gateway.signed_in()
    gateway.provider.rotate_key()
    # The keys were looked at a moment ago; another look is due only after a while.
    await refused(gateway)
    known = gateway.parts.provider._known
    assert known is not None
    gateway.parts.provider._known = identity_provider._Known(known.discovery, known.keys, known.at_s - 60)
    await gateway.signed_in()


async def test_a_callback_without_the_browser_that_set_out_is_refused(gateway: Serving) -> None:
    alice, mallory = await gateway.browser(), await gateway.browser()
    to_provider = await mallory.get("/auth/sign-in")
    back = await mallory.get(to_provider.headers["location"])
    answer = await alice.get(back.headers["location"])
    assert answer.status_code == 400
    assert SESSION not in alice.cookies


async def test_a_code_is_good_once(gateway: Serving) -> None:
    browser = await gateway.browser()
    to_provider = await browser.get("/auth/sign-in")
    attempt = dict(browser.cookies)
    back = await browser.get(to_provider.headers["location"])
    assert (await browser.get(back.headers["location"])).status_code == 303
    again = await gateway.browser()
    again.cookies.update(attempt)
    assert (await again.get(back.headers["location"])).status_code == 400


async def test_a_sealed_cookie_that_was_meddled_with_is_refused(gateway: Serving) -> None:
    browser = await gateway.browser()
    for sealed in (b"x", b"\xe9", b"gAAAAA=="):
        headers = {"Cookie": b"wattfleet_sign_in_a-state-=" + sealed}
        assert (await browser.get("/auth/callback?state=a-state-&code=x", headers=headers)).status_code == 400


@pytest.mark.parametrize(
    "changed", [{"state": "another"}, {"iss": "https://evil.example"}, {"code": ""}, {"error": "access_denied"}]
)
async def test_a_callback_that_was_meddled_with_is_refused(gateway: Serving, changed: dict[str, str]) -> None:
    browser = await gateway.browser()
    to_provider = await browser.get("/auth/sign-in")
    back = httpx2.URL((await browser.get(to_provider.headers["location"])).headers["location"])
    answer = await browser.get(back.copy_merge_params(changed))
    assert answer.status_code == 400
    assert SESSION not in browser.cookies


async def test_a_person_who_says_no_at_the_provider_reads_a_page(gateway: Serving) -> None:
    gateway.provider.refuses = "access_denied"
    browser = await gateway.browser()
    browser.headers["Accept"] = "text/html"
    answer = await walk(gateway, browser)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "not completed" in answer.text


async def test_a_provider_that_calls_itself_something_else_is_not_used(gateway: Serving) -> None:
    gateway.provider.name_of_itself = "https://evil.example"
    answer = await (await gateway.browser()).get("/auth/sign-in")
    assert answer.status_code == 503


async def test_two_tabs_may_sign_in_at_once(gateway: Serving) -> None:
    browser = await gateway.browser()
    first = await browser.get("/auth/sign-in", params={"return_to": "/first"})
    second = await browser.get("/auth/sign-in", params={"return_to": "/second"})
    for to_provider, wanted in ((first, "/first"), (second, "/second")):
        back = await browser.get(to_provider.headers["location"])
        assert (await browser.get(back.headers["location"])).headers["location"] == wanted


async def test_return_to_is_checked_on_the_way(gateway: Serving) -> None:
    answer = await walk(gateway, await gateway.browser(), return_to="//evil.example")
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "evil",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\r\nLocation: https://evil.example",
        "",
        "evil",
        "/" + "a" * 600,
        "/auth/sign-in",
        "///evil.example",
        " /ok",
    ],
)
def test_return_to_never_leads_elsewhere(evil: str) -> None:
    assert own_path(evil) == "/"


@given(st.text(alphabet=st.sampled_from("/\\.:@%ae\t\n 2f5cF?#"), max_size=12))
def test_every_path_that_is_returned_to_stays_on_our_origin(text: str) -> None:
    there = httpx2.URL("http://us.example").join(own_path(text))
    assert (there.scheme, there.host) == ("http", "us.example")
    assert own_path(text).startswith("/")
    assert own_path(text)[1:2] not in ("/", "\\")


async def test_no_secret_of_a_sign_in_is_logged(gateway: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    browser = await gateway.browser()
    to_provider = await browser.get("/auth/sign-in")
    back = httpx2.URL((await browser.get(to_provider.headers["location"])).headers["location"])
    sealed = list(browser.cookies.values())
    await browser.get(back)
    logged = "\n".join(
        f"{record.getMessage()} {record.__dict__}" for record in caplog.records if "wattfleet" in record.name
    )
    for secret in (back.params["code"], back.params["state"], browser.cookies[SESSION], *sealed):
        assert secret not in logged
