# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""The table of a home's sockets: name, state, power now, energy today; on its own page they can be renamed.

An "offline" socket was heard of within the last 24 hours and says when; a "silent" one was not.
"""

import reflex as rx

from wattfleet_ui.add_home import next_step
from wattfleet_ui.figures import SocketLine
from wattfleet_ui.format import DASH
from wattfleet_ui.live_power import LiveSocketPower
from wattfleet_ui.notices import refused_messages, undo_bar
from wattfleet_ui.shell import header, page
from wattfleet_ui.state import Overview
from wattfleet_ui.theme import card


def sockets() -> rx.Component:
    """The page at `/sockets`."""
    return page(
        "/sockets", header(), undo_bar(), sockets_card(rename=True), rx.box(refused_messages(), margin_top="16px")
    )


def sockets_card(rename: bool) -> rx.Component:
    """The table with its export button."""
    return card(
        rx.flex(
            rx.heading("Sockets", size="4", as_="h2"),
            rx.button(
                rx.el.a(
                    rx.icon("download", size=15, aria_hidden="true"),
                    "Export CSV",
                    href=Overview.export_url,
                    download=True,
                    title=Overview.window_title,
                    # Else React Router looks for a page of this name.
                    custom_attrs={"reloadDocument": True},
                ),
                as_child=True,
                variant="soft",
            ),
            justify="between",
            align="center",
            margin_bottom="16px",
        ),
        rx.cond(
            Overview.loaded,
            rx.cond(
                Overview.sockets,
                _table(rename),
                rx.box(
                    rx.text("No sockets yet. They appear with the first readings of this home.", size="2"), next_step()
                ),
            ),
            rx.skeleton(width="100%", height="240px"),
        ),
    )


def _table(rename: bool) -> rx.Component:
    return rx.el.table(
        rx.el.thead(
            rx.el.tr(
                rx.el.th("Socket", scope="col"),
                rx.el.th("State", scope="col"),
                rx.el.th("Last reading", scope="col", class_name="wf-desk-only"),
                rx.el.th("Now", scope="col", class_name="wf-right"),
                rx.el.th("Today", scope="col", class_name="wf-right"),
                rx.el.th(rx.el.span("Rename", class_name="wf-hidden"), scope="col") if rename else rx.fragment(),
            )
        ),
        rx.el.tbody(rx.foreach(Overview.sockets, lambda line: _row(line, rename))),
        class_name="wf-table",
    )


def _row(line: SocketLine, rename: bool) -> rx.Component:
    return rx.el.tr(
        rx.el.td(
            rx.flex(
                rx.box(class_name="wf-dot", background=line.color),
                rx.text(line.name, as_="span"),
                align="center",
                spacing="2",
            )
        ),
        rx.el.td(rx.el.span(line.state, class_name="wf-state", custom_attrs={"data-state": line.state})),
        rx.el.td(line.seen, class_name="wf-desk-only", color="var(--gray-11)"),
        rx.el.td(
            LiveSocketPower.create(household=Overview.household, number=line.number, stored=line.power),
            class_name="wf-right",
        ),
        rx.el.td(
            rx.el.span(line.today, rx.cond(line.today == DASH, "", rx.el.small(" kWh")), class_name="wf-number"),
            class_name="wf-right",
        ),
        rx.el.td(_rename(line), class_name="wf-right wf-narrow") if rename else rx.fragment(),
        key=line.number,
    )


def _rename(line: SocketLine) -> rx.Component:
    return rx.popover.root(
        rx.popover.trigger(
            rx.el.button(rx.icon("pencil", size=15), class_name="wf-icon-button", aria_label=f"Rename {line.name}")
        ),
        rx.popover.content(
            rx.form.root(
                rx.el.input(type="hidden", name="number", value=line.number, read_only=True),
                rx.flex(
                    rx.input(name="name", default_value=line.name, max_length=60, aria_label="New name", required=True),
                    rx.popover.close(rx.button("Save", type="submit")),
                    spacing="2",
                ),
                on_submit=Overview.rename,
            ),
            size="1",
        ),
    )
