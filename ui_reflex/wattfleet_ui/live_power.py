"""Power as it changes: our own small React component (`live_power.jsx`) beside this file.

It listens to the gateway's event stream itself. Through Reflex's state each reading would cross two processes and
block the tab's other events; five people watching would already lag.
"""

import reflex as rx

_SCRIPT = rx.asset("live_power.jsx", shared=True)


class HomeWatch(rx.Component):
    """Shows nothing: an event for each minute, and for each time that the gateway refused the home's stream."""

    library = _SCRIPT.importable_path
    tag = "HomeWatch"

    household: rx.Var[str]
    # Reflex reads the signature of the event from this subscript, which is no type.
    on_minute: rx.EventHandler[rx.event.no_args_event_spec]  # type: ignore[type-arg, valid-type]
    on_ended: rx.EventHandler[rx.event.no_args_event_spec]  # type: ignore[type-arg, valid-type]


class LivePower(rx.Component):
    """The card's content: watts now, how fresh they are, and a line over the last half hour."""

    library = HomeWatch.library
    tag = "LivePower"

    household: rx.Var[str]
    time_zone: rx.Var[str]
    stored: rx.Var[str]
    stored_at_ms: rx.Var[int]
    recent: rx.Var[list[object]]


class LiveSocketPower(rx.Component):
    """One socket's watts now, by its number."""

    library = LivePower.library
    tag = "LiveSocketPower"

    household: rx.Var[str]
    number: rx.Var[int]
    stored: rx.Var[str]
