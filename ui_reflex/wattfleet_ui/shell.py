# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""The frame around every signed-in page: a sidebar on a desk, a bar at the bottom of a phone, account and colours.

Entries exist only for pages that exist. Each link keeps the open home in its address, so that a reload, a bookmark
and a second tab all show what was meant.
"""

from typing import Literal

import reflex as rx
from reflex.style import set_color_mode
from reflex_components_core.el.elements.base import BaseHTML  # type: ignore[import-untyped]

from wattfleet_ui.add_home import add_home_button
from wattfleet_ui.live_power import HomeWatch
from wattfleet_ui.notices import by_phase, connection_lost
from wattfleet_ui.state import Overview

# Kept in the browser by Reflex; "system" follows the device as it changes.
COLOR_MODES: tuple[tuple[str, str, Literal["light", "dark", "system"]], ...] = (
    ("Light", "sun", "light"),
    ("Dark", "moon", "dark"),
    ("System", "monitor", "system"),
)
PAGES = (("Overview", "layout-dashboard", "/overview"), ("Sockets", "plug-zap", "/sockets"))


class PlainForm(BaseHTML):  # type: ignore[misc]
    """A form that the browser itself sends. Reflex's own form never is: without a handler it swallows the event."""

    tag = "form"


def page(current: str, *content: rx.Component) -> rx.Component:
    """A page of the open home, or a notice why there is none to show."""
    return rx.box(
        connection_lost(),
        _sidebar(current),
        rx.box(
            _topbar(),
            rx.el.main(
                rx.cond(Overview.phase == "setting-up", header()), by_phase(_watch(), *content), class_name="wf-main"
            ),
            min_width="0",
        ),
        _tabs(current),
        class_name="wf-shell",
    )


def _watch() -> rx.Component:
    return rx.cond(
        Overview.household != "",
        HomeWatch.create(
            key=Overview.household,
            household=Overview.household,
            on_minute=Overview.refresh,
            on_ended=Overview.refresh,
        ),
    )


def header() -> rx.Component:
    """Greeting, home, and how many of its sockets are heard."""
    return rx.flex(
        rx.box(
            rx.skeleton(
                rx.heading("Hello, ", Overview.first_name, size="6", as_="h1", trim="start"),
                loading=Overview.viewer == "",
                min_width="160px",
                min_height="26px",
            ),
            rx.flex(_household(), add_home_button(), align="center", spacing="1", margin_top="6px"),
            min_width="0",
        ),
        rx.flex(
            rx.cond(Overview.loaded, _online_badge()),
            rx.box(_color_menu(), class_name="wf-desk-only"),
            align="center",
            spacing="2",
        ),
        justify="between",
        align="center",
        spacing="4",
        margin_bottom="18px",
    )


def brand(href: str = "/overview") -> rx.Component:
    """Our mark and name."""
    return rx.el.a(
        rx.box(rx.icon("zap", size=18), class_name="wf-logo", aria_hidden="true"),
        "Wattfleet",
        href=href,
        class_name="wf-brand",
    )


def _sidebar(current: str) -> rx.Component:
    return rx.box(
        brand(),
        rx.el.nav(*_links(current, 17), class_name="wf-nav", aria_label="Pages"),
        rx.spacer(),
        _account(side="top"),
        class_name="wf-sidebar",
    )


def _topbar() -> rx.Component:
    return rx.el.header(
        brand(),
        rx.flex(_color_menu(), _account(side="bottom"), align="center", spacing="1"),
        class_name="wf-topbar",
    )


def _tabs(current: str) -> rx.Component:
    return rx.el.nav(*_links(current, 20), class_name="wf-tabs", aria_label="Pages")


def _links(current: str, icon_size: int) -> list[rx.Component]:
    return [
        rx.link(
            rx.icon(icon, size=icon_size, aria_hidden="true"),
            name,
            href=rx.cond(Overview.household == "", path, f"{path}?household={Overview.household}"),
            underline="none",
            custom_attrs={"aria-current": "page"} if path == current else {},
        )
        for name, icon, path in PAGES
    ]


def _household() -> rx.Component:
    name = rx.skeleton(
        rx.text(Overview.household_name, size="2", color="var(--gray-11)", min_height="20px"),
        loading=Overview.household_name == "",
        min_width="110px",
    )
    switcher = rx.select.root(
        rx.select.trigger(variant="soft", color_scheme="gray", aria_label="Home", radius="large"),
        rx.select.content(
            rx.foreach(Overview.homes, lambda home: rx.select.item(home.name, value=home.id)),
            position="popper",
        ),
        value=Overview.household,
        on_change=Overview.switch,
    )
    return rx.cond(Overview.several_homes, switcher, name)


def _online_badge() -> rx.Component:
    return rx.badge(
        rx.icon("wifi", size=13, aria_hidden="true"),
        Overview.online,
        color_scheme=rx.cond(Overview.all_online, "grass", "amber"),
        radius="full",
        size="2",
        white_space="nowrap",
    )


def _color_menu() -> rx.Component:
    return rx.menu.root(
        rx.menu.trigger(
            rx.el.button(
                rx.color_mode_cond(rx.icon("sun", size=19), rx.icon("moon", size=19)),
                class_name="wf-icon-button",
                aria_label="Colour mode",
            )
        ),
        rx.menu.content(
            *(
                rx.menu.item(rx.icon(icon, size=15, aria_hidden="true"), name, on_select=set_color_mode(mode))
                for name, icon, mode in COLOR_MODES
            ),
            variant="soft",
        ),
    )


def _account(side: str) -> rx.Component:
    # A form, because signing out changes something: a link could be followed by a prefetch or an image tag.
    sign_out = PlainForm.create(
        rx.el.button(rx.icon("log-out", size=15, aria_hidden="true"), "Sign out", class_name="wf-menu-button"),
        custom_attrs={"action": "/auth/sign-out", "method": "post"},
    )
    return rx.cond(
        Overview.viewer != "",
        rx.popover.root(
            rx.popover.trigger(
                rx.el.button(
                    rx.avatar(fallback=Overview.initial, size="1", radius="full", color_scheme="gray"),
                    rx.text(Overview.viewer, as_="span", truncate=True, max_width="124px"),
                    rx.icon("chevrons-up-down", size=14, aria_hidden="true"),
                    class_name="wf-account",
                    aria_label=f"Account of {Overview.viewer}",
                )
            ),
            rx.popover.content(sign_out, side=side, size="1", width="180px", padding="6px"),
        ),
    )
