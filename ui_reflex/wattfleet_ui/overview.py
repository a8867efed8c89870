# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""The overview of a home: power now, today, what is always on, the chart, the largest consumers, every socket."""

import reflex as rx

from wattfleet_ui.figures import Consumer
from wattfleet_ui.live_power import LivePower
from wattfleet_ui.notices import not_ready, refused_messages, undo_bar
from wattfleet_ui.power_chart import power_chart
from wattfleet_ui.shell import header, page
from wattfleet_ui.sockets import sockets_card
from wattfleet_ui.state import Overview
from wattfleet_ui.theme import card


def overview() -> rx.Component:
    """The page at `/overview`."""
    return page(
        "/overview",
        header(),
        undo_bar(),
        not_ready(),
        rx.box(_live(), _today(), _always_on(), class_name="wf-figures"),
        rx.box(power_chart(), _top_consumers(), class_name="wf-columns", margin="16px 0"),
        sockets_card(rename=False),
        rx.box(refused_messages(), margin_top="16px"),
    )


def _live() -> rx.Component:
    return card(
        rx.cond(
            Overview.household != "",
            LivePower.create(
                key=Overview.household,
                household=Overview.household,
                time_zone=Overview.time_zone,
                stored=Overview.power,
                stored_at_ms=Overview.power_at_ms,
                recent=Overview.recent,
            ),
        ),
        extra_class="wf-live-card",
    )


def _today() -> rx.Component:
    change = Overview.comparison
    badge = rx.badge(
        rx.match(
            change.direction,
            ("up", rx.icon("trending-up", size=13, aria_label="more")),
            ("down", rx.icon("trending-down", size=13, aria_label="less")),
            rx.icon("move-right", size=13, aria_label="as much"),
        ),
        change.text,
        color_scheme=rx.match(change.direction, ("up", "amber"), ("down", "grass"), "gray"),
        radius="full",
    )
    return _figure(
        "battery-charging",
        "teal",
        "Today",
        Overview.today,
        "kWh",
        rx.flex(
            rx.cond(change.text != "", badge),
            rx.text(change.note, size="1", color="var(--gray-11)"),
            align="center",
            wrap="wrap",
            spacing="2",
        ),
    )


def _always_on() -> rx.Component:
    return _figure(
        "moon",
        "indigo",
        "Always on",
        Overview.always_on,
        "W",
        rx.text(
            "the quietest 5 % of the last 24 h",
            title="5th percentile of the home's quarter-hour means",
            size="1",
            color="var(--gray-11)",
            text_wrap="pretty",
        ),
    )


def _figure(icon: str, color: str, title: str, value: str, unit: str, note: rx.Component) -> rx.Component:
    waiting = ~Overview.loaded
    return card(
        rx.flex(
            rx.box(
                rx.icon(icon, size=18, aria_hidden="true"),
                class_name="wf-tile",
                color=f"var(--{color}-11)",
                background=f"var(--{color}-3)",
            ),
            rx.heading(title, size="2", as_="h2", weight="medium", color="var(--gray-11)"),
            align="center",
            spacing="3",
        ),
        rx.skeleton(
            rx.box(value, rx.el.small(unit), class_name="wf-big"),
            loading=waiting,
            width=rx.cond(waiting, "110px", "auto"),
        ),
        rx.skeleton(rx.box(note, min_height="20px"), loading=waiting),
        display="flex",
        flex_direction="column",
        gap="12px",
    )


def _top_consumers() -> rx.Component:
    return card(
        rx.flex(
            rx.heading("Top consumers", size="4", as_="h2"),
            rx.badge("today", color_scheme="gray"),
            justify="between",
            align="center",
        ),
        rx.cond(
            Overview.loaded,
            rx.cond(
                Overview.consumers,
                rx.foreach(Overview.consumers, _consumer),
                rx.text("Nothing measured today.", size="2", color="var(--gray-11)", margin_top="16px"),
            ),
            rx.skeleton(width="100%", height="300px", margin_top="18px"),
        ),
    )


def _consumer(line: Consumer) -> rx.Component:
    return rx.box(
        rx.flex(
            rx.box(class_name="wf-dot", background=line.color),
            rx.text(line.name, size="2", truncate=True, flex="1"),
            rx.text(line.energy, " kWh", size="2", weight="medium", white_space="nowrap", class_name="wf-number"),
            rx.text(
                line.share,
                size="1",
                color="var(--gray-11)",
                min_width="38px",
                text_align="right",
                class_name="wf-number",
            ),
            align="center",
            spacing="2",
        ),
        rx.box(rx.box(width=line.width, background=line.color), class_name="wf-bar", margin_top="8px"),
        margin_top="20px",
    )
