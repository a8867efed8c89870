# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""Adding a home: its name, the time zone that the browser proposes, and what is next while it is being set up."""

import reflex as rx

from wattfleet_ui.state import Overview


class TimeZoneSelect(rx.Component):
    """A field of a form: every time zone, with the visitor's own one chosen (`add_home.jsx`)."""

    library = rx.asset("add_home.jsx", shared=True).importable_path
    tag = "TimeZoneSelect"

    name: rx.Var[str]
    label: rx.Var[str]


class LookAgain(rx.Component):
    """Shows nothing: an event every few seconds."""

    library = TimeZoneSelect.library
    tag = "LookAgain"

    # Reflex reads the signature of the event from this subscript, which is no type.
    on_again: rx.EventHandler[rx.event.no_args_event_spec]  # type: ignore[type-arg, valid-type]


def add_home_form() -> rx.Component:
    """The form, with the gateway's own words when it does not take the home."""
    return rx.form.root(
        rx.flex(
            _field("Name", rx.input(name="name", placeholder="Our house", max_length=60, required=True, size="3")),
            _field("Time zone", TimeZoneSelect.create(name="time_zone", label="Time zone")),
            rx.cond(
                Overview.add_home_problem != "",
                rx.callout.root(
                    rx.callout.text(Overview.add_home_problem), color_scheme="amber", size="1", role="alert"
                ),
            ),
            rx.button("Add this home", type="submit", size="3", loading=Overview.adding_home),
            direction="column",
            spacing="4",
        ),
        on_submit=Overview.add_home,
        text_align="left",
        width="100%",
    )


def add_home_button() -> rx.Component:
    """A small button beside the home's name, for people who may add another one."""
    return rx.cond(
        Overview.may_add_home,
        rx.dialog.root(
            rx.dialog.trigger(
                rx.el.button(rx.icon("plus", size=17), class_name="wf-icon-button wf-small", aria_label="Add a home")
            ),
            rx.dialog.content(
                rx.dialog.title("Add a home"),
                rx.dialog.description(
                    "It gets readings of its own, which you alone see.", size="2", margin_bottom="16px"
                ),
                add_home_form(),
                rx.dialog.close(
                    rx.el.button(rx.icon("x", size=17), class_name="wf-icon-button wf-close", aria_label="Close")
                ),
                max_width="400px",
            ),
            open=Overview.add_home_open,
            on_open_change=Overview.open_add_home,
        ),
    )


def next_step() -> rx.Component:
    """How a home that is not heard yet comes to its agent."""
    return rx.box(
        rx.text(
            "Its agent needs the file of this home, ",
            rx.code(Overview.household),
            ". Whoever runs Wattfleet for you takes the next step:",
            size="2",
            color="var(--gray-11)",
        ),
        rx.el.pre(Overview.home_file_command, class_name="wf-command"),
        margin_top="12px",
        text_align="left",
        width="100%",
    )


def _field(label: str, field: rx.Component) -> rx.Component:
    return rx.el.label(rx.text(label, size="2", weight="medium", margin_bottom="6px", as_="div"), field)
