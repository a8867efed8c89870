"""`python -m wattfleet_gateway`: serves people, or takes an admin's word about whose home is whose."""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from wattfleet_tenants import grants
from wattfleet_tenants.adapters.http_server import HttpServer
from wattfleet_tenants.adapters.reader_client import ReaderClient
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.socket import parse_socket_number
from wattfleet_tenants.telemetry import logs
from wattfleet_tenants.telemetry.health import Health, serve_health

from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.database import open_database, words
from wattfleet_gateway.edge import NatsEdge
from wattfleet_gateway.fleet import Fleet
from wattfleet_gateway.fleet_folder import FolderFleet
from wattfleet_gateway.front_door import REQUEST_ID_HEADER, request_id
from wattfleet_gateway.migrations import migrate
from wattfleet_gateway.settings import Settings, WrongSettings, database_url, read_settings
from wattfleet_gateway.store import Store

logger = logging.getLogger(__name__)

_GRANT_LIFETIME_S = 30
_LOOK_AT_DATABASE_EVERY_S = 3
_DATABASE_ANSWERS_WITHIN_S = 5


def main(arguments: list[str] | None = None) -> int:
    """Runs the command in `arguments`; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "serve":
            asyncio.run(serve(read_settings()))
        else:
            add_household(asked)
    except (WrongSettings, ValueError) as error:
        print(f"wattfleet_gateway: {error}", file=sys.stderr)
        return 2
    except OperationalError as error:
        print(f"wattfleet_gateway: the database: {words(error)}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Serves until a signal says stop."""
    logs.configure("gateway")
    health = Health("database", "fleet", "door")
    serve_health(health)

    def grant(household: HouseholdId) -> str:
        return grants.sign(settings.signing_key, "reader", household, _GRANT_LIFETIME_S)

    async with (
        httpx.AsyncClient(event_hooks={"request": [_pass_request_id]}, trust_env=False) as http,
        NatsEdge(settings.edge_credentials) as edge,
        _fleet(settings, health) as fleet,
    ):
        beating = asyncio.create_task(health.keep_beating())
        await _until_the_database_is_there(health, settings.database_url)
        app = create_app(settings, Ports(fleet, ReaderClient(http, grant), edge))
        watching = asyncio.create_task(_watch(health, app.state.gateway.store))
        await HttpServer(app, settings.host, settings.port, lambda: health.ok("door")).serve()
        watching.cancel()
        beating.cancel()


@asynccontextmanager
async def _fleet(settings: Settings, health: Health) -> AsyncIterator[Fleet]:
    if settings.fleet_folder is None:
        # The client takes half a second to import, and only a cluster needs it.
        from wattfleet_gateway.fleet_cluster import ClusterFleet, cluster_client

        async with ClusterFleet(cluster_client(), health) as fleet:
            yield fleet
    else:
        health.ok("fleet")
        yield FolderFleet(ResourceFolder(settings.fleet_folder))


async def _until_the_database_is_there(health: Health, url: str) -> None:
    """Waits for a database that is away, as it does later on, and for another gateway that brings it up to date."""
    engine = open_database(url)
    while True:
        if await _works(health, partial(migrate, engine)):
            return engine.dispose()
        await asyncio.sleep(_LOOK_AT_DATABASE_EVERY_S)


async def _watch(health: Health, store: Store) -> None:
    while True:
        await _works(health, store.answer)
        await asyncio.sleep(_LOOK_AT_DATABASE_EVERY_S)


async def _works(health: Health, ask: Callable[[], None]) -> bool:
    """Whether the database did what it was asked. `health` knows, even while it says nothing at all."""
    asked = asyncio.create_task(asyncio.to_thread(ask))
    await asyncio.wait([asked], timeout=_DATABASE_ANSWERS_WITHIN_S)
    if not asked.done():
        health.trouble("database", f"no answer within {_DATABASE_ANSWERS_WITHIN_S} s")
    try:
        await asked
    except SQLAlchemyError as error:
        if health.troubles.get("database") != words(error):
            logger.warning("database unavailable", extra={"error": words(error)})
        health.trouble("database", words(error))
        return False
    health.ok("database")
    return True


def add_household(asked: argparse.Namespace) -> None:
    """Remembers a household and its owner, and names its nameless sockets; the same again changes nothing."""
    household = parse_household_id(asked.id)
    engine = open_database(database_url())
    try:
        migrate(engine)
        _remember(household, asked, Store(engine))
    finally:
        engine.dispose()


def _remember(household: HouseholdId, asked: argparse.Namespace, store: Store) -> None:
    store.ensure_household(household, asked.name, store.ensure_user(asked.owner_issuer, asked.owner_subject))
    named = store.socket_names(household)  # perhaps by its people, who have the last word
    for index, name in enumerate(asked.sockets.split(",") if asked.sockets else []):
        if index + 1 not in named:
            store.name_socket(household, parse_socket_number(index + 1), name.strip())
    print(f"household {household} ({asked.name}): {asked.owner_subject} of {asked.owner_issuer} may see it")


async def _pass_request_id(request: httpx.Request) -> None:
    if number := request_id.get():
        request.headers[REQUEST_ID_HEADER] = number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("wattfleet_gateway", description="The only door for people.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve the page and its API; settings come as WATTFLEET_… variables")
    household = commands.add_parser("household", help="whose home is whose (needs WATTFLEET_DATABASE_URL)")
    add = household.add_subparsers(dest="action", required=True, metavar="ACTION").add_parser(
        "add", help="remember a household and who may see it; repeating it is harmless, another owner is added"
    )
    add.add_argument("--id", required=True, help="the household's id, such as h7m2k9x4q8w1z5t3b")
    add.add_argument("--name", required=True, help="what its people call it")
    add.add_argument("--owner-issuer", required=True, metavar="URL", help="the identity provider's issuer, exactly")
    add.add_argument("--owner-subject", required=True, metavar="SUB", help="who the owner is there (the `sub` claim)")
    add.add_argument("--sockets", default="", metavar="NAMES", help='names from socket 1 on: "Heat pump,Kitchen"')
    return parser


if __name__ == "__main__":
    sys.exit(main())
