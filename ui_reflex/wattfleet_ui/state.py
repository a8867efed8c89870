"""What one tab knows: who is signed in, which of their homes is open, and that home's figures as text.

Everything here came from the gateway in answer to this person's own cookie. Live power never passes through: it goes
from the gateway into a component of the page (`live_power`), and this state is only refreshed once a minute.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import reflex as rx
from reflex.event import EventSpec

from wattfleet_ui import charts, figures
from wattfleet_ui.charts import WINDOWS, Band, ChartRow
from wattfleet_ui.figures import Comparison, Consumer, SocketLine, Spans
from wattfleet_ui.format import DASH, kilowatt_hours, watts
from wattfleet_ui.gateway import (
    Gateway,
    GatewayUnavailableError,
    Household,
    NotSignedInError,
    Range,
    UnknownHomeError,
)

logger = logging.getLogger(__name__)

# The sparkline's span: long enough to show a kettle, short enough that live points move it.
RECENT = timedelta(minutes=30)


@dataclass(frozen=True)
class HomeChoice:
    """A home in the switcher."""

    id: str
    name: str


@dataclass(frozen=True)
class RecentPower:
    """A point of the sparkline: the home's watts over one minute, None where a gap is."""

    at_ms: int
    power_w: float | None


class Session(rx.State):
    """The person and their homes; shared by all pages."""

    # loading, ready, signed-out, no-home, setting-up, unknown-home or unreachable
    phase: str = "loading"
    viewer: str = ""
    homes: list[HomeChoice] = []  # noqa: RUF012 (Reflex copies defaults per tab)
    household: str = ""
    household_name: str = ""
    time_zone: str = "UTC"
    not_ready: str = ""
    home_file_command: str = ""
    may_add_home: bool = False
    add_home_open: bool = False
    adding_home: bool = False
    add_home_problem: str = ""
    remembered: str = rx.LocalStorage("", name="wattfleet_household")

    @rx.var
    def first_name(self) -> str:
        """What the greeting says."""
        return self.viewer.split(" ", 1)[0]

    @rx.var
    def initial(self) -> str:
        """What the avatar shows."""
        return self.viewer[:1].upper()

    @rx.var
    def several_homes(self) -> bool:
        """Whether there is anything to switch between."""
        return len(self.homes) > 1

    @rx.var
    def sign_in_url(self) -> str:
        """Sign in and come back to this page and the home that its address names."""
        asked = self.router.url
        home = asked.query_parameters.get("household", "")
        page = f"{asked.path}?household={quote(home, safe='')}" if home else asked.path
        return f"/auth/sign-in?return_to={quote(page, safe='')}"

    @rx.event
    async def forward(self) -> EventSpec | None:
        """From the front door straight to the overview, for a person who is signed in already."""
        try:
            await self.gateway().viewer()
        except (NotSignedInError, UnknownHomeError, GatewayUnavailableError):
            return None
        return rx.redirect("/overview", replace=True)

    def gateway(self) -> Gateway:
        """The API on behalf of the person whose tab this is."""
        return Gateway(self.router.headers.cookie)

    async def identify(self, wanted: str) -> str:
        """Learn who is here and open the home that was asked for, the remembered one, or the first.

        Returns the phase; raises as the gateway's methods do.
        """
        gateway = self.gateway()
        viewer, homes = await asyncio.gather(gateway.viewer(), gateway.households())
        self.viewer, self.may_add_home = viewer.name, viewer.may_add_home
        self.homes = [HomeChoice(home.id, home.name) for home in homes]
        # Only an id from this very list is ever put into a request's path.
        known = {home.id: home for home in homes}
        if not known:
            self.household = ""
            return "no-home"
        if wanted and wanted not in known:
            self.household = ""
            return "unknown-home"
        home = known.get(wanted) or known.get(self.remembered) or homes[0]
        self._enter(home)
        return "ready" if home.placed else "setting-up"

    @rx.event
    def open_add_home(self, is_open: bool) -> None:
        """Show the form for another home, or put it away."""
        self.add_home_open, self.add_home_problem = is_open, ""

    @rx.event
    async def add_home(self, form: dict[str, str]) -> AsyncIterator[EventSpec | None]:
        """Add a home, and open it."""
        self.adding_home, self.add_home_problem = True, ""
        yield None
        try:
            home = await self.gateway().add_household(form["name"], form["time_zone"])
        except NotSignedInError:
            self.phase, self.add_home_open = "signed-out", False
        except (UnknownHomeError, GatewayUnavailableError) as error:
            logger.warning("a home could not be added: %r", error)
            words = error.words if isinstance(error, GatewayUnavailableError) else ""
            self.add_home_problem = words or "That did not work. Please try again in a moment."
        else:
            self.add_home_open = False
            yield rx.redirect(f"/overview?household={home.id}")
        self.adding_home = False

    def _enter(self, home: Household) -> None:
        self.household, self.household_name, self.time_zone = home.id, home.name, home.time_zone
        self.not_ready = "" if home.ready else home.reason
        self.home_file_command = home.home_file_command
        self.remembered = home.id


class Overview(Session):
    """The open home's figures, chart and sockets."""

    loaded: bool = False
    today: str = DASH
    comparison: Comparison = Comparison()
    always_on: str = DASH
    power: str = DASH
    power_at_ms: int = 0
    recent: list[RecentPower] = []  # noqa: RUF012
    online: str = ""
    all_online: bool = True
    consumers: list[Consumer] = []  # noqa: RUF012
    sockets: list[SocketLine] = []  # noqa: RUF012
    quarantine: str = ""
    window: str = "24h"
    chart_rows: list[ChartRow] = []  # noqa: RUF012
    chart_bands: list[Band] = []  # noqa: RUF012
    chart_ticks: list[int] = []  # noqa: RUF012
    chart_tick_labels: dict[str, str] = {}  # noqa: RUF012
    chart_domain: list[int] = []  # noqa: RUF012
    chart_note: str = ""
    chart_loading: bool = False
    export_url: str = ""
    undo_number: int = 0
    undo_name: str = ""
    undo_text: str = ""

    @rx.var
    def window_title(self) -> str:
        """The chart's heading."""
        return WINDOWS[self.window].title

    @rx.var
    def window_averages(self) -> str:
        """What a point of the chart is."""
        return f"Watts per socket, {WINDOWS[self.window].averages}"

    @rx.event
    async def open(self) -> EventSpec | None:
        """Load the page: the person, the home that the address names, its figures."""
        wanted = self.router.url.query_parameters.get("household", "")
        if wanted != self.household:
            self.loaded = False
        self.phase = await self._attempt(wanted)
        if self.phase == "ready" and not wanted and len(self.homes) > 1:
            return rx.redirect(f"{self.router.url.path}?household={self.household}", replace=True)
        return None

    @rx.event
    async def retry(self) -> None:
        """Try again after the gateway did not answer."""
        self.phase = await self._attempt(self.household)

    @rx.event
    async def refresh(self) -> None:
        """Once a minute, and when the live stream ended: look again, and keep what is shown if nothing answers."""
        phase = await self._attempt(self.household)
        if phase != "unreachable":
            self.phase = phase

    @rx.event
    def switch(self, household: str) -> EventSpec:
        """Open another of the viewer's homes, by its address."""
        self.loaded = False
        return rx.redirect(f"{self.router.url.path}?household={household}")

    @rx.event
    async def show_window(self, window: str | list[str]) -> None:
        """Show another span in the chart."""
        if window not in WINDOWS or not self.household:
            return
        self.window = str(window)
        self.chart_loading = True
        phase = await self._attempt(self.household)
        self.chart_loading = False
        if phase != "ready":
            self.phase = phase

    @rx.event
    async def rename(self, form: dict[str, str]) -> None:
        """Rename a socket, and remember its old name for "Undo"."""
        number, name = int(form["number"]), form["name"].strip()
        before = next((line.name for line in self.sockets if line.number == number), "")
        if name and before and name != before and await self._rename(number, name):
            self.undo_number, self.undo_name = number, before
            self.undo_text = f"“{before}” is now “{name}”."

    @rx.event
    async def undo_rename(self) -> None:
        """Give the last renamed socket its old name back."""
        if self.undo_number and await self._rename(self.undo_number, self.undo_name):
            self._forget_rename()

    @rx.event
    def dismiss_undo(self) -> None:
        """Keep the new name."""
        self._forget_rename()

    def _forget_rename(self) -> None:
        self.undo_number, self.undo_name, self.undo_text = 0, "", ""

    async def _rename(self, number: int, name: str) -> bool:
        try:
            await self.gateway().rename_socket(self.household, number, name)
        except (NotSignedInError, UnknownHomeError, GatewayUnavailableError) as error:
            logger.warning("a socket could not be renamed: %r", error)
            self.undo_text, self.undo_number = "The name could not be changed.", 0
            return False
        self.phase = await self._attempt(self.household)
        return True

    async def _attempt(self, wanted: str) -> str:
        """Load everything; returns the phase that the page is in now."""
        try:
            phase = await self.identify(wanted)
            if phase == "ready":
                await self._load()
        except NotSignedInError:
            self.reset()  # type: ignore[no-untyped-call]
            self.viewer, self.homes = "", []
            return "signed-out"
        except UnknownHomeError:
            return "unknown-home"
        except GatewayUnavailableError as error:
            logger.warning("no answer from the gateway: %s", error)
            return "unreachable"
        return phase

    async def _load(self) -> None:
        gateway, home = self.gateway(), self.household
        zone = ZoneInfo(self.time_zone)
        spans = Spans.at(datetime.now(UTC).astimezone(zone))
        window = WINDOWS[self.window]
        end = figures.floor(spans.settled, min(window.step_s, 3_600))
        day_before = _earlier(spans.settled, timedelta(hours=24))
        last_minute = figures.floor(spans.now - timedelta(minutes=1), 60)
        tomorrow = spans.now.date() + timedelta(days=1)
        now, today, two_days, shown, recent, refused = await asyncio.gather(
            gateway.now(home),
            gateway.energy(home, spans.now.date(), tomorrow, "day"),
            gateway.range(home, min(spans.yesterday, day_before), spans.settled, 900),
            gateway.range(home, _earlier(end, window.length), end, window.step_s),
            gateway.range(home, _earlier(last_minute, RECENT), last_minute, 60),
            gateway.quarantine(home),
        )
        self.today = kilowatt_hours(figures.total_wh(today))
        self.comparison = figures.compare(two_days, spans)
        self.consumers = figures.consumers(today)
        self.sockets = figures.socket_lines(now, today, spans.now)
        online = sum(line.state == "online" for line in self.sockets)
        self.online, self.all_online = f"{online} of {len(self.sockets)} online", online == len(self.sockets)
        self.power, self.power_at_ms = watts(now.power_w), now.at_ms or 0
        self.recent = _recent(recent)
        self.quarantine = figures.quarantine_note(refused, zone, spans.now)
        last_day = charts.since(two_days, day_before)
        self.always_on = watts(charts.always_on_w(charts.drawn_w(last_day)))
        self._draw(shown, zone)
        self.export_url = _export_url(home, _earlier(end, window.length), end, window.step_s)
        self.loaded = True

    def _draw(self, shown: Range, zone: ZoneInfo) -> None:
        chart = charts.stacked_power(shown, zone)
        self.chart_rows, self.chart_bands = chart.rows, chart.bands
        self.chart_ticks = [tick.at_ms for tick in chart.ticks]
        self.chart_tick_labels = {str(tick.at_ms): tick.label for tick in chart.ticks}
        if shown.start_ms:
            self.chart_domain = [shown.start_ms[0], shown.start_ms[-1] + shown.step_s * 1000]
        heard_of = {line.number for line in self.sockets if line.state != "silent"}
        self.chart_note = figures.measured_note(charts.measured_shares(shown, heard_of))


def _recent(answer: Range) -> list[RecentPower]:
    points = []
    for i, at_ms in enumerate(answer.start_ms):
        known = [power for socket in answer.sockets if (power := socket.mean_power_w[i]) is not None]
        points.append(RecentPower(at_ms, round(sum(known), 1) if known else None))
    return points


def _earlier(at: datetime, length: timedelta) -> datetime:
    """`length` of real time before, which on a day of 23 or 25 hours is not the same time of day."""
    return (at.astimezone(UTC) - length).astimezone(at.tzinfo)


def _export_url(household: str, start: datetime, end: datetime, step_s: int) -> str:
    start_text, end_text = (quote(at.isoformat(), safe="") for at in (start, end))
    return f"/api/v1/households/{household}/readings/export.csv?start={start_text}&end={end_text}&step_s={step_s}"
