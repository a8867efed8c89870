"""A person with a real browser: signs in on the provider's own page, sees the home live, signs out.

Everything behind the page is real. Screenshots are kept in build/screenshots.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright
from running_platform import ALICE, BOB, Homes, Person, RunningPlatform
from wattfleet_tenants.testing.waiting import wait_until

CHROMIUM = Path("/usr/bin/chromium")
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
CHANGES_WITHIN_S = 45  # a command that got lost is given again when its lease of 30 s is renewed
SEEN_WITHIN_MS = 30_000

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"no {CHROMIUM}: `make test` installs it where it may (apt-get install chromium)"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


class Visit:
    """One person's browser, which notes whatever goes wrong behind our pages."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(SEEN_WITHIN_MS)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", self._note_failure)
        self.page.on("request", self._note)

    def _note_console(self, message: ConsoleMessage) -> None:
        source = message.location.get("url", "")
        if message.type == "error" and self._is_ours(source or self.page.url):
            self.errors.append(f"{message.text} {source} on {self.page.url}")

    def _note_failure(self, error: Error) -> None:
        if self._is_ours(self.page.url):
            self.errors.append(f"{error} on {self.page.url}")

    def _is_ours(self, url: str) -> bool:
        """Not the identity provider's own pages, which have been seen to miss a picture of theirs."""
        return url.startswith(f"{self.url}/")

    def _note(self, request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None, ""):
            self.foreign.append(request.url)

    def sign_in(self, person: Person) -> Page:
        page = self.page
        page.goto(self.url)
        page.get_by_role("link", name=re.compile("sign in", re.IGNORECASE)).first.click()
        page.wait_for_url("**/login**")
        page.get_by_label("Login").fill(person.user)
        page.get_by_role("button", name="Continue").click()
        page.locator("input[name=password]").fill(person.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{self.url}/**")
        expect(page.get_by_role("heading", name=re.compile("Hello"))).to_be_visible(timeout=SEEN_WITHIN_MS)
        return page


@pytest.fixture
def visit(browser: Browser, platform: RunningPlatform, request: pytest.FixtureRequest) -> Iterator[Visit]:
    viewport = getattr(request, "param", DESK)
    with browser.new_context(viewport=viewport, locale="en-GB", timezone_id="Europe/Paris") as context:
        visit = Visit(context, platform.url)
        yield visit
        assert visit.errors == []
        assert visit.foreign == []


def live_power(page: Page) -> str:
    return page.get_by_test_id("live-power").inner_text()


@pytest.mark.parametrize(("visit", "name"), [(DESK, "desk"), (PHONE, "phone")], indirect=["visit"])
def test_a_person_signs_in_sees_the_home_live_and_signs_out(
    visit: Visit, name: str, homes: Homes, artefacts: Path
) -> None:
    page = visit.sign_in(ALICE)
    first = wait_until(lambda: re.search(r"\d+", live_power(page)) and live_power(page), 30, "live power is shown")
    wait_until(lambda: live_power(page) != first, CHANGES_WITHIN_S, "live power changes")
    expect(page.locator(".recharts-area-curve").first).to_be_visible()
    for words in ("Last 24 hours", "Top consumers", "Always on"):
        expect(page.get_by_text(words).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide"
    page.screenshot(path=artefacts / f"overview-{name}.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=artefacts / f"overview-{name}-dark.png")
    sign_out(page)
    expect(page.get_by_role("link", name=re.compile("sign in", re.IGNORECASE)).first).to_be_visible()
    assert visit.context.request.get(f"{visit.url}/api/v1/viewer").status == 401
    page.screenshot(path=artefacts / f"landing-{name}.png")


def sign_out(page: Page) -> None:
    page.get_by_role("button", name=re.compile("account|Alice", re.IGNORECASE)).locator("visible=true").first.click()
    page.get_by_role("button", name=re.compile("sign out", re.IGNORECASE)).or_(
        page.get_by_role("menuitem", name=re.compile("sign out", re.IGNORECASE))
    ).first.click()


def test_a_person_with_two_homes_switches_between_them(visit: Visit, homes: Homes) -> None:
    page = visit.sign_in(ALICE)
    page.goto(f"{visit.url}/overview?household={homes.alice_flat}")
    expect(page.get_by_text("Alice's heater").first).to_be_visible(timeout=SEEN_WITHIN_MS)


def test_a_stolen_page_token_shows_nothing_of_its_owner(
    browser: Browser, platform: RunningPlatform, homes: Homes
) -> None:
    with browser.new_context() as hers, browser.new_context() as his:
        alice = Visit(hers, platform.url).sign_in(ALICE)
        token = alice.evaluate("sessionStorage.getItem('token')")
        assert token, "Reflex keeps its token elsewhere now: find it"
        bob = Visit(his, platform.url).sign_in(BOB)
        bob.evaluate("token => sessionStorage.setItem('token', token)", token)
        bob.reload()
        expect(bob.get_by_role("heading", name="Hello, Bob")).to_be_visible(timeout=SEEN_WITHIN_MS)
        assert bob.evaluate("sessionStorage.getItem('token')") == token
        assert "Alice" not in bob.content()
        expect(alice.get_by_role("heading", name="Hello, Alice")).to_be_visible()


def test_another_s_home_in_the_address_shows_nothing_of_it(visit: Visit, homes: Homes) -> None:
    page = visit.sign_in(BOB)
    page.goto(f"{visit.url}/overview?household={homes.alice_house}")
    expect(page.get_by_role("heading", name="This home is not yours to see")).to_be_visible(timeout=SEEN_WITHIN_MS)
    assert "Alice" not in page.content()
