"""The parts of a running gateway, put together once, and where endpoints find them."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from wattfleet_gateway.cookies import Cookies
from wattfleet_gateway.fleet import Fleet
from wattfleet_gateway.gone_homes import GoneHomes
from wattfleet_gateway.identity_provider import IdentityProvider
from wattfleet_gateway.live import LiveHomes
from wattfleet_gateway.new_homes import NewHomes
from wattfleet_gateway.readings import History
from wattfleet_gateway.sessions import Sessions
from wattfleet_gateway.settings import Settings
from wattfleet_gateway.store import Store


@dataclass(frozen=True, slots=True)
class Gateway:
    """All that requests are answered with."""

    settings: Settings
    store: Store
    sessions: Sessions
    cookies: Cookies
    provider: IdentityProvider
    fleet: Fleet
    history: History
    live: LiveHomes
    new_homes: NewHomes
    gone_homes: GoneHomes


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway that this request or socket came to."""
    return cast(Gateway, connection.app.state.gateway)
