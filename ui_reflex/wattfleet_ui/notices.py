# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""What stands in the page's place when there is no home to show, and the quiet notes above one.

Each says what happened and what to do next; none leaves a spinner turning.
"""

import reflex as rx
from reflex_components_core.core.banner import has_connection_errors  # type: ignore[import-untyped]

from wattfleet_ui.add_home import LookAgain, add_home_form
from wattfleet_ui.state import Overview
from wattfleet_ui.theme import card

_DELETED = "Deleted"  # the gateway's word


def by_phase(*content: rx.Component) -> rx.Component:
    """The content while a home is open or loading, else the notice that fits."""
    return rx.match(
        Overview.phase,
        ("signed-out", signed_out()),
        ("no-home", no_home()),
        ("setting-up", setting_up()),
        ("unknown-home", unknown_home()),
        ("unreachable", unreachable()),
        rx.fragment(*content),
    )


def signed_out() -> rx.Component:
    """The session ended, or never began."""
    return _notice(
        "log-in",
        "Please sign in",
        "You are not signed in, or your session has ended.",
        rx.link(rx.button("Sign in", size="3"), href=Overview.sign_in_url, custom_attrs={"reloadDocument": True}),
    )


def no_home() -> rx.Component:
    """A person to whom nobody has given a home yet."""
    return _notice(
        "house-plug",
        "No home yet",
        rx.cond(
            Overview.may_add_home,
            "Give your home a name. Its agent comes next.",
            "Your account works, but no home belongs to it. Ask whoever runs Wattfleet for you to add yours.",
        ),
        rx.cond(
            Overview.may_add_home,
            add_home_form(),
            rx.button("Look again", on_click=Overview.retry, size="3", variant="soft"),
        ),
    )


def setting_up() -> rx.Component:
    """A home that was just added; the page goes on by itself when it has a place."""
    return _notice(
        "loader",
        Overview.household_name,
        _why_not_ready(". The page goes on by itself when it is."),
        LookAgain.create(on_again=Overview.refresh),
    )


def unknown_home() -> rx.Component:
    """An address that names no home of this person."""
    return _notice(
        "map-pin-off",
        "This home is not yours to see",
        "The address names a home that does not exist or belongs to somebody else.",
        rx.link(rx.button("Go to my homes", size="3", variant="soft"), href="/overview"),
    )


def unreachable() -> rx.Component:
    """The gateway did not answer."""
    return _notice(
        "cloud-off",
        "We cannot reach your data",
        "Your home goes on measuring and keeps what it measures. Please try again in a moment.",
        rx.button(rx.icon("rotate-cw", size=16), "Try again", on_click=Overview.retry, size="3", variant="soft"),
    )


def connection_lost() -> rx.Component:
    """A line while the page's own connection is down; it comes back by itself.

    In place of Reflex's message, which names a socket's address and tells its readers to check their server.
    """
    return rx.cond(
        has_connection_errors,
        rx.box(
            rx.icon("wifi-off", size=15, aria_hidden="true"),
            "Connection lost. Trying again …",
            class_name="wf-lost",
            role="status",
        ),
    )


def not_ready() -> rx.Component:
    """A home that is still being set up, with the platform's own reason."""
    return rx.cond(
        Overview.not_ready != "",
        _note("loader", _why_not_ready("."), "amber"),
    )


def _why_not_ready(end: str) -> rx.Component:
    return rx.cond(
        Overview.not_ready == _DELETED,
        "This home was deleted by an administrator.",
        rx.fragment("This home is not ready yet: ", Overview.not_ready, end),
    )


def refused_messages() -> rx.Component:
    """What of this home was refused; nothing is dropped without saying so."""
    return rx.cond(Overview.quarantine != "", _note("shield-alert", Overview.quarantine, "gray"))


def undo_bar() -> rx.Component:
    """What the last rename did, and the way back.

    Not a Reflex toast: those are sent as scripts to evaluate, which our content security policy refuses.
    """
    return rx.cond(
        Overview.undo_text != "",
        rx.flex(
            rx.text(Overview.undo_text, size="2"),
            rx.flex(
                rx.cond(
                    Overview.undo_number > 0,
                    rx.button("Undo", on_click=Overview.undo_rename, size="2", variant="soft"),
                ),
                rx.icon_button(
                    rx.icon("x", size=16),
                    on_click=Overview.dismiss_undo,
                    variant="ghost",
                    color_scheme="gray",
                    aria_label="Dismiss",
                ),
                align="center",
                spacing="4",
            ),
            justify="between",
            align="center",
            spacing="4",
            class_name="wf-card",
            padding="10px 16px",
            margin_bottom="16px",
            role="status",
        ),
    )


def _note(icon: str, text: str | rx.Component, color: str) -> rx.Component:
    return rx.callout.root(
        rx.callout.icon(rx.icon(icon, size=16, aria_hidden="true")),
        rx.callout.text(text),
        color_scheme=color,
        size="1",
        margin_bottom="16px",
    )


def _notice(icon: str, title: str, text: str | rx.Component, action: rx.Component) -> rx.Component:
    return card(
        rx.flex(
            rx.box(
                rx.icon(icon, size=26, aria_hidden="true"),
                class_name="wf-tile",
                width="56px",
                height="56px",
                color="var(--accent-11)",
                background="var(--accent-3)",
            ),
            rx.heading(title, size="6", as_="h1"),
            rx.text(text, color="var(--gray-11)", text_wrap="pretty"),
            rx.box(action, margin_top="8px", width="100%"),
            direction="column",
            align="center",
            text_align="center",
            spacing="3",
            max_width="420px",
            margin="0 auto",
            padding="32px 0",
        ),
        margin_top="8vh",
    )
