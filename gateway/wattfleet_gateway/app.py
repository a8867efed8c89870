"""The gateway's one door: every part wired once, every route in its place.

The process enters here with real adapters, a test with fakes of the same ports. What is not below `/api`, `/auth` or
`/_event` is the page.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from wattfleet_tenants import grants
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.permissions import LIVE_LEASE_S

from wattfleet_gateway import errors, sign_in
from wattfleet_gateway.api import export, households, live, quarantine, readings, sockets
from wattfleet_gateway.api import viewer as viewer_api
from wattfleet_gateway.chores import keep_doing
from wattfleet_gateway.cookies import Cookies
from wattfleet_gateway.database import open_database
from wattfleet_gateway.edge import Edge
from wattfleet_gateway.errors import documented
from wattfleet_gateway.fleet import Fleet
from wattfleet_gateway.front_door import FrontDoor
from wattfleet_gateway.gone_homes import LOOK_EVERY_S, GoneHomes
from wattfleet_gateway.identity_provider import IdentityProvider
from wattfleet_gateway.live import LiveHomes, Pace
from wattfleet_gateway.migrations import migrate
from wattfleet_gateway.new_homes import TELL_AGAIN_EVERY_S, NewHomes
from wattfleet_gateway.readings import History
from wattfleet_gateway.sessions import Sessions
from wattfleet_gateway.settings import Settings
from wattfleet_gateway.store import Store
from wattfleet_gateway.ui import Ui, page_policy
from wattfleet_gateway.ui_socket import UiSocket
from wattfleet_gateway.wiring import Gateway

_API = (viewer_api, households, sockets, readings, export, quarantine, live)


@dataclass(frozen=True, slots=True)
class Ports:
    """What lies outside, opened and closed by whoever makes it. pace: how fast live views go, tests are quicker."""

    fleet: Fleet
    history: History
    edge: Edge
    pace: Pace = field(default_factory=Pace)


def create_app(settings: Settings, ports: Ports) -> FastAPI:
    """The gateway, with its database brought up to date."""
    gateway = _wired(settings, ports)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        beside = [
            asyncio.create_task(keep_doing(gateway.new_homes.tell_again, TELL_AGAIN_EVERY_S)),
            asyncio.create_task(keep_doing(gateway.gone_homes.look, LOOK_EVERY_S)),
        ]
        yield
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        gateway.store.engine.dispose()

    app = FastAPI(
        title="Wattfleet",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    errors.install(app)
    app.add_middleware(FrontDoor, public_url=settings.public_url)
    app.include_router(sign_in.router)
    app.include_router(_api())
    _add_page(app, settings)
    return app


def _wired(settings: Settings, ports: Ports) -> Gateway:
    engine = open_database(settings.database_url)
    migrate(engine)
    store = Store(engine)
    command = partial(_command, settings.signing_key)
    return Gateway(
        settings=settings,
        store=store,
        sessions=Sessions(store),
        cookies=Cookies(settings.over_https, settings.secret),
        provider=IdentityProvider(settings.oidc, f"{settings.public_url}/auth/callback"),
        fleet=ports.fleet,
        history=ports.history,
        live=LiveHomes(ports.fleet, ports.edge, ports.history, command, ports.pace),
        new_homes=NewHomes(store, ports.fleet, settings.region, settings.homes_per_person),
        gone_homes=GoneHomes(store, ports.fleet),
    )


def _command(signing_key: str, household: HouseholdId) -> str:
    return grants.sign(signing_key, "agent", household, LIVE_LEASE_S)


def _api() -> APIRouter:
    api = APIRouter(prefix="/api/v1", responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY))
    for part in _API:
        api.include_router(part.router)
    return api


def _add_page(app: FastAPI, settings: Settings) -> None:
    if settings.ui_backend_url:
        app.router.routes.extend(UiSocket(settings.ui_backend_url, settings.secret).routes)
    if settings.ui_folder:
        issuer = urlsplit(settings.oidc.issuer)
        policy = page_policy(settings.ui_folder, f"{issuer.scheme}://{issuer.netloc}")
        app.mount("/", Ui(settings.ui_folder, policy), name="page")
