"""The app: its pages, and what loads when one opens. Reflex finds it by this module's name."""

import reflex as rx

from wattfleet_ui.landing import landing
from wattfleet_ui.overview import overview
from wattfleet_ui.sockets import sockets
from wattfleet_ui.state import Overview, Session

app = rx.App(
    stylesheets=["/wattfleet.css"],
    html_lang="en",
    head_components=[rx.el.link(rel="icon", type="image/svg+xml", href="/favicon.svg")],
)
# The pages say themselves when their connection is lost: see `notices.connection_lost`.
del app.app_wraps[5, "Overlay"]
app.add_page(landing, route="/", title="Wattfleet: know what your home draws", on_load=Session.forward)
app.add_page(overview, route="/overview", title="Overview · Wattfleet", on_load=Overview.open)
app.add_page(sockets, route="/sockets", title="Sockets · Wattfleet", on_load=Overview.open)
