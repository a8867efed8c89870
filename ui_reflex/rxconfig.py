"""How Reflex builds and runs the page: pinned tools, nothing phoned home, one origin.

The browser only ever talks to the address it loaded the page from; the gateway behind that address passes the
event socket on to this backend. The backend therefore accepts sockets of the public origin alone.
"""

import os

import reflex as rx
from wattfleet_ui.bundle import PAGE_ORIGIN_MARKER, SameOriginBundle
from wattfleet_ui.theme import THEME

config = rx.Config(
    app_name="wattfleet_ui",
    api_url=PAGE_ORIGIN_MARKER,
    backend_host="127.0.0.1",
    cors_allowed_origins=[os.environ.get("WATTFLEET_PUBLIC_URL", "http://127.0.0.1:8080").rstrip("/")],
    # A person's state lives as long as the tab: never pickled to a disk. With several backends, REFLEX_REDIS_URL.
    state_manager_mode=rx.constants.StateManagerMode("redis" if "REFLEX_REDIS_URL" in os.environ else "memory"),
    telemetry_enabled=False,
    show_built_with_reflex=False,
    plugins=[rx.plugins.RadixThemesPlugin(theme=THEME), SameOriginBundle()],
    disable_plugins=[rx.plugins.SitemapPlugin],
)
