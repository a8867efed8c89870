# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""What a visitor sees before signing in: what this is, what it promises, one button."""

import reflex as rx

from wattfleet_ui.shell import brand
from wattfleet_ui.theme import card

_PROMISES = (
    ("activity", "Live", "Every socket's power as it changes, while you look."),
    ("chart-area", "Complete", "Days, weeks and years, kept to the minute."),
    ("scale", "Honest", "What was not measured is shown as a gap, never guessed."),
)


def landing() -> rx.Component:
    """The page at `/`."""
    return rx.el.main(
        rx.flex(
            brand("/"),
            rx.heading(
                "Know what your home draws.",
                size="9",
                as_="h1",
                trim="start",
                letter_spacing="-0.035em",
                text_wrap="balance",
            ),
            rx.text(
                "Wattfleet measures every socket of your home, minute by minute, and shows it to you and nobody else.",
                size="4",
                color="var(--gray-11)",
                text_wrap="pretty",
            ),
            rx.link(
                rx.button(rx.icon("log-in", size=17, aria_hidden="true"), "Sign in", size="4"),
                href="/auth/sign-in?return_to=%2Foverview",
                custom_attrs={"reloadDocument": True},
            ),
            rx.grid(*(_promise(*promise) for promise in _PROMISES), class_name="wf-promises", width="100%"),
            direction="column",
            align="start",
            spacing="6",
            max_width="760px",
            margin="0 auto",
            padding="9vh 20px 48px",
        ),
        class_name="wf-landing",
    )


def _promise(icon: str, title: str, text: str) -> rx.Component:
    return card(
        rx.box(
            rx.icon(icon, size=18, aria_hidden="true"),
            class_name="wf-tile",
            color="var(--accent-11)",
            background="var(--accent-3)",
        ),
        rx.heading(title, size="3", as_="h2", margin_top="14px"),
        rx.text(text, size="2", color="var(--gray-11)", margin_top="4px"),
    )
