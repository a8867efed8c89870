"""The page in real Chromium: exported files, the real page backend, and a stand-in for the gateway.

Screenshots of every look are kept in `build/screenshots`. Waiting is always for something on the page, at most
`WAIT_MS`.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from ui_fake_gateway import CABIN, HOUSE, Faults, create_app
from wattfleet_tenants.testing.programs import free_port

UI = Path(__file__).parents[1]
STATIC = Path(os.environ.get("WATTFLEET_UI_FOLDER", UI / ".web/build/client")).absolute()
SCREENSHOTS = UI.parent / "build/screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

START_S = 60  # the backend starts in 3 s on an idle machine; test machines are seldom idle
WAIT_MS = 20_000
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
    pytest.mark.skipif(
        not (STATIC / "index.html").exists(), reason=f"the page is not exported into {STATIC} (WATTFLEET_UI_FOLDER)"
    ),
]


@dataclass
class Site:
    """The page as people reach it, and the switches of the stand-in behind it."""

    url: str
    faults: Faults


@dataclass
class Visit:
    """A page in a browser of its own, and everything it should not have done."""

    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def sign_in(self, who: str = "alice", path: str = "/overview") -> Page:
        self.page.goto(f"{self.site.url}/auth/sign-in?who={who}&return_to={path}")
        return self.page


def wait_for(url: str, what: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            threading.Event().wait(0.1)
    pytest.fail(f"{what} did not answer within {START_S} s")


@contextmanager
def backend(port: int, gateway_url: str, folder: Path) -> Iterator[None]:
    """The page's backend as in production: no bun, no Node on its PATH."""
    settings = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "REFLEX_WEB_WORKDIR": str(folder / "web"),
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "WATTFLEET_GATEWAY_URL": gateway_url,
        "WATTFLEET_PUBLIC_URL": gateway_url,
    }
    reflex = str(Path(sys.executable).parent / "reflex")
    command = [reflex, "run", "--env", "prod", "--backend-only", "--backend-port", str(port)]
    with (folder / "backend.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=UI, env=settings, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", "the page's backend")
            yield
        finally:
            process.terminate()
            process.wait(timeout=START_S)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    port, backend_port = free_port(), free_port()
    app = create_app(STATIC, f"http://127.0.0.1:{backend_port}")
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=port,
            log_level="error",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, "the stand-in for the gateway")
        with backend(backend_port, url, tmp_path_factory.mktemp("backend")):
            yield Site(url, app.state.world.faults)
    finally:
        server.should_exit = True
        thread.join(timeout=START_S)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, site: Site, **context_options: object) -> Iterator[Visit]:
    # A visitor far away: whatever shows the browser's time zone instead of the home's would be seen.
    options = {"viewport": DESK, "timezone_id": "Asia/Tokyo", **context_options}
    context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    visit = Visit(context.new_page(), site)

    def on_console(said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            visit.complaints.append(said.text)

    def on_request(asked: Request) -> None:
        if not asked.url.startswith((site.url, "data:")):
            visit.foreign.append(asked.url)

    visit.page.on("console", on_console)
    visit.page.on("request", on_request)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    yield visit
    context.close()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    site.faults.__init__()  # type: ignore[misc]
    with visiting(browser, site) as visit:
        yield visit
    site.faults.__init__()  # type: ignore[misc]


def loaded(page: Page) -> None:
    expect(page.locator(".recharts-area-area").first).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_test_id("live-power")).to_have_text(re.compile(r"\d"), timeout=WAIT_MS)


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"ui-{name}.png", full_page=True)


def test_a_visitor_is_told_what_this_is_and_signs_in_to_the_overview(visit: Visit) -> None:
    page = visit.page
    page.goto(visit.site.url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("home")
    keep(page, "landing")
    page.get_by_role("link", name="Sign in").click()
    loaded(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, Alice")
    assert visit.complaints == []
    assert visit.foreign == []


def test_the_overview_shows_now_today_and_every_socket(visit: Visit) -> None:
    page = visit.sign_in()
    loaded(page)
    expect(page.get_by_role("group", name="Power now")).to_contain_text("Measured this second")
    expect(page.get_by_text("5 of 7 online")).to_be_visible()
    expect(page.get_by_text("vs yesterday").or_(page.get_by_text("no full comparison"))).to_be_visible()
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(8)
    expect(rows.filter(has_text="Laundry")).to_contain_text("offline")
    expect(rows.filter(has_text="Attic")).to_contain_text("silent")
    expect(page.get_by_text("3 × a power no socket can carry")).to_be_visible()
    assert visit.complaints == []


def test_live_power_moves_without_the_page_asking_its_backend(visit: Visit) -> None:
    page = visit.sign_in()
    loaded(page)
    first = page.get_by_test_id("live-power").inner_text()
    expect(page.get_by_test_id("live-power")).not_to_have_text(first, timeout=WAIT_MS)


def test_values_of_the_minute_are_not_called_live(visit: Visit) -> None:
    visit.site.faults.minute_only = True
    page = visit.sign_in()
    loaded(page)
    power = page.get_by_role("group", name="Power now")
    expect(power).to_contain_text("Mean of the last minute; not live")
    expect(power).not_to_contain_text("Live")


def test_a_stretch_without_readings_is_a_gap_in_the_chart(visit: Visit) -> None:
    page = visit.sign_in("sam")
    loaded(page)
    first_area = page.locator(".recharts-area-area").first.get_attribute("d") or ""
    assert first_area.count("M") == 2, "the heat pump's area is in two parts, before and after the gap"
    expect(page.get_by_text(re.compile(r"\d\d % measured; gaps are times without readings"))).to_be_visible()


def test_the_chart_shows_weeks_and_months_too(visit: Visit) -> None:
    page = visit.sign_in("sam")
    loaded(page)
    page.get_by_role("radio", name="30d").click()
    expect(page.get_by_role("heading", name="Last 30 days")).to_be_visible()
    expect(page.get_by_text("4-hour averages")).to_be_visible()
    loaded(page)
    assert visit.complaints == []


def test_times_are_the_homes_whatever_the_visitors_zone(visit: Visit) -> None:
    page = visit.sign_in(path=f"/overview?household={CABIN}")
    loaded(page)
    expect(page.get_by_text("Measured this second")).to_be_visible(timeout=WAIT_MS)
    # Both at once: a second later both have changed.
    at, text = page.locator(".wf-live-time").evaluate("time => [time.dateTime, time.textContent]")
    assert text == f"{datetime.fromisoformat(at).astimezone(ZoneInfo('America/New_York')):%H:%M:%S}"


def test_switching_homes_changes_the_address_and_survives_a_reload_and_a_new_visit(visit: Visit) -> None:
    page = visit.sign_in()
    loaded(page)
    assert page.url.endswith(f"?household={HOUSE}")
    page.get_by_role("combobox", name="Home").click()
    page.get_by_role("option", name="Mountain cabin").click()
    expect(page.get_by_text("3 of 3 online")).to_be_visible(timeout=WAIT_MS)
    assert page.url.endswith(f"?household={CABIN}")
    page.reload()
    expect(page.get_by_text("3 of 3 online")).to_be_visible(timeout=WAIT_MS)
    page.goto(f"{visit.site.url}/overview")
    page.wait_for_url(f"**/overview?household={CABIN}")
    page.get_by_role("link", name="Sockets").locator("visible=true").click()
    page.wait_for_url(f"**/sockets?household={CABIN}")
    expect(page.get_by_role("row").filter(has_text="Boiler")).to_be_visible(timeout=WAIT_MS)


@pytest.mark.parametrize(
    ("who", "path", "title"),
    [
        ("nora", "/overview", "No home yet"),
        ("sam", f"/overview?household={CABIN}", "This home is not yours to see"),
        ("nobody", "/overview", "Please sign in"),
    ],
)
def test_a_page_without_a_home_says_why(visit: Visit, who: str, path: str, title: str) -> None:
    page = visit.sign_in(who, path)
    expect(page.get_by_role("heading", level=1)).to_have_text(title, timeout=WAIT_MS)
    keep(page, f"notice-{who}")


def test_when_the_gateway_is_away_the_page_says_so_and_tries_again(visit: Visit) -> None:
    visit.site.faults.down = True
    page = visit.sign_in("sam")
    expect(page.get_by_role("heading", level=1)).to_have_text("We cannot reach your data", timeout=WAIT_MS)
    visit.site.faults.down = False
    page.get_by_role("button", name="Try again").click()
    loaded(page)


@pytest.mark.parametrize(
    ("who", "path"), [("sam", "/overview"), ("sam", "/sockets"), ("alice", f"/sockets?household={CABIN}")]
)
def test_an_ended_session_leads_back_to_signing_in_and_to_the_same_page(visit: Visit, who: str, path: str) -> None:
    page = visit.sign_in(who, path)
    expect(page.get_by_text("of 7 online").or_(page.get_by_text("of 3 online"))).to_be_visible(timeout=WAIT_MS)
    visit.site.faults.signed_out = True
    expect(page.get_by_role("heading", level=1)).to_have_text("Please sign in", timeout=WAIT_MS)
    link = page.get_by_role("link", name="Sign in").get_attribute("href") or ""
    assert link == f"/auth/sign-in?return_to={quote(path, safe='')}"


def test_signing_out_leaves_for_good(visit: Visit) -> None:
    page = visit.sign_in("sam")
    loaded(page)
    page.get_by_role("button", name="Account of Sam Solo").locator("visible=true").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{visit.site.url}/")
    page.goto(f"{visit.site.url}/overview")
    expect(page.get_by_role("heading", level=1)).to_have_text("Please sign in", timeout=WAIT_MS)


def test_a_renamed_socket_can_have_its_name_back(visit: Visit) -> None:
    page = visit.sign_in("sam", "/sockets")
    page.get_by_role("button", name="Rename Kitchen").click()
    page.get_by_label("New name").fill("Cooker")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="Cooker")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("row").filter(has_text="Kitchen")).to_be_visible(timeout=WAIT_MS)


def test_the_readings_are_exported_as_a_file(visit: Visit) -> None:
    page = visit.sign_in("sam")
    loaded(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.splitlines()[0] == "time,socket,name,mean_power_w,measured"
    assert len(text.splitlines()) == 1 + 7 * 96


def add_home(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Add this home").click()


def test_a_person_without_a_home_adds_one_and_the_page_goes_on_when_it_is_ready(visit: Visit) -> None:
    visit.site.faults.homes_wait = True
    page = visit.sign_in("nick")
    expect(page.get_by_role("heading", level=1)).to_have_text("No home yet", timeout=WAIT_MS)
    expect(page.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
    keep(page, "add-home-first")
    page.get_by_label("Time zone").select_option("Europe/London")
    add_home(page, "Nick's boat")
    notice = page.locator(".wf-card")
    expect(notice).to_contain_text("This home is not ready yet: NoShardHasRoom", timeout=WAIT_MS)
    home = page.url.partition("?household=")[2]
    keep(page, "add-home-waiting")
    visit.site.faults.homes_wait = False
    expect(page.get_by_text("No sockets yet")).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_text(f"fetch --home {home} > home.json")).to_be_visible()
    keep(page, "add-home-ready")
    assert visit.complaints == []
    assert visit.foreign == []


def test_another_home_is_added_and_opened_and_the_first_one_is_still_there(visit: Visit) -> None:
    visit.site.faults.homes_wait = True
    page = visit.sign_in("anna")
    loaded(page)
    page.get_by_role("button", name="Add a home").click()
    add_home(page, "Anna's shed")
    expect(page.get_by_text("This home is not ready yet")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("combobox", name="Home").click()
    page.get_by_role("option", name="Alice's house").click()
    loaded(page)
    assert visit.complaints == []


def test_why_a_home_is_not_added_is_said_in_words(visit: Visit) -> None:
    visit.site.faults.no_home = "You have as many homes as one person may have here (5)."
    page = visit.sign_in("anna", f"/overview?household={HOUSE}")
    loaded(page)
    page.get_by_role("button", name="Add a home").click()
    add_home(page, "One too many")
    expect(page.get_by_role("alert")).to_have_text(visit.site.faults.no_home, timeout=WAIT_MS)
    keep(page, "add-home-refused")
    visit.site.faults.down = True
    page.get_by_role("button", name="Add this home").click()
    expect(page.get_by_role("alert")).to_have_text("Unavailable", timeout=WAIT_MS)
    visit.site.faults.down, visit.site.faults.signed_out = False, True
    page.get_by_role("button", name="Add this home").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Please sign in", timeout=WAIT_MS)


def test_who_may_add_no_home_is_not_offered_one(visit: Visit) -> None:
    page = visit.sign_in("nora")
    expect(page.get_by_text("Ask whoever runs Wattfleet")).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_role("button", name="Add this home")).to_have_count(0)
    page = visit.sign_in("sam")
    loaded(page)
    expect(page.get_by_role("button", name="Add a home")).to_have_count(0)


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "viewport"), [("desk", DESK), ("phone", PHONE)])
def test_adding_a_home_fits_its_screen(
    browser: Browser, site: Site, name: str, viewport: dict[str, int], color_scheme: str
) -> None:
    with visiting(browser, site, viewport=viewport, color_scheme=color_scheme) as visit:
        page = visit.sign_in("anna", f"/overview?household={HOUSE}")
        loaded(page)
        page.get_by_role("button", name="Add a home").click()
        dialog = page.get_by_role("dialog", name="Add a home")
        expect(dialog).to_be_visible()
        keep(page, f"add-home-{name}-{color_scheme}")
        box = dialog.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        colour, ground = dialog.get_by_label("Time zone").evaluate(
            "field => [getComputedStyle(field).color, getComputedStyle(field).backgroundColor]"
        )
        assert colour != ground
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_have_count(0)
        assert visit.complaints == []


def test_dark_is_remembered(visit: Visit) -> None:
    page = visit.sign_in("sam")
    loaded(page)
    page.get_by_role("button", name="Colour mode").locator("visible=true").click()
    page.get_by_role("menuitem", name="Dark").click()
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    page.reload()
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    loaded(page)


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "viewport"), [("desk", DESK), ("phone", PHONE)])
def test_the_page_fits_its_screen(
    browser: Browser, site: Site, name: str, viewport: dict[str, int], color_scheme: str
) -> None:
    with visiting(browser, site, viewport=viewport, color_scheme=color_scheme) as visit:
        page = visit.sign_in()
        loaded(page)
        expect(page.locator("html")).to_have_class(re.compile(color_scheme))
        navigation = page.get_by_role("navigation", name="Pages").locator("visible=true")
        expect(navigation).to_have_count(1)
        keep(page, f"overview-{name}-{color_scheme}")
        wide, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, "the page scrolls sideways"
        navigation.get_by_role("link", name="Sockets").click()
        expect(page.get_by_role("button", name="Rename Fridge")).to_be_visible(timeout=WAIT_MS)
        keep(page, f"sockets-{name}-{color_scheme}")
        card, table = (page.locator(part).first.bounding_box() for part in (".wf-card:has(table)", "table"))
        assert card is not None
        assert table is not None
        assert table["x"] + table["width"] < card["x"] + card["width"], "the table is wider than its card"
        box = navigation.bounding_box()
        assert box is not None
        assert (box["y"] > viewport["height"] - 100) == (name == "phone"), "a bar at the bottom, on a phone only"
        assert visit.complaints == []
        assert visit.foreign == []
