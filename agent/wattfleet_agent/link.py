"""The one connection to the platform, made again for ever.

The client library's own reconnecting is switched off: it stops for good when a credential is refused, keeps its waits
the same for every home, and would never see a renewed credential. Here each attempt reads the home file anew, takes the
next server, and waits with full jitter in between.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats.errors
from nats.aio.client import Client, RawCredentials
from wattfleet_tenants import subjects
from wattfleet_tenants.home_file import HomeFile, read_home_file
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.telemetry.health import Health

from wattfleet_agent import metrics
from wattfleet_agent.backoff import Backoff

logger = logging.getLogger(__name__)

_CONNECT_WITHIN_S = 10
_CLOSE_WITHIN_S = 1.0
# A connection that is silently dead is noticed after 45 s.
_PING_EVERY_S = 15
_LOST_PINGS = 2
_STABLE_AFTER_S = 10.0

Serve = Callable[[Client, HomeFile], Awaitable[None]]


def read_home(path: Path) -> HomeFile:
    """The home file at `path`; raises OSError or ValueError with one line that says what is wrong with it."""
    try:
        home = read_home_file(path)
    except FileNotFoundError as error:
        raise OSError(f"there is no home file {path}") from error
    except OSError as error:
        raise OSError(f"the home file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        # Never the text itself: it holds a private key.
        reason = "it is not JSON" if "char" in str(error) else str(error)
        raise ValueError(f"the home file {path} is wrong: {reason}") from error
    # The client library would look for these markers for ever.
    if "BEGIN NATS USER JWT" not in home.credentials or "BEGIN USER NKEY SEED" not in home.credentials:
        raise ValueError(f"the home file {path} is wrong: its credentials are not the text of a .creds file")
    if not home.servers:
        raise ValueError(f"the home file {path} is wrong: it names no servers")
    return home


class Link:
    """Keeps a connection and lets `serve` use it; `on_refusal(reason)` hears what the server denies."""

    def __init__(self, path: Path, serve: Serve, on_refusal: Callable[[str], None], health: Health) -> None:
        self._path = path
        self._serve = serve
        self._on_refusal = on_refusal
        self._health = health
        self._backoff = Backoff(base_s=0.5, most_s=30.0)
        self._home = read_home(path)
        self._turn = random.randrange(len(self._home.servers))  # noqa: S311 (spreads homes over servers)

    @property
    def household(self) -> HouseholdId:
        """Whose home this is."""
        return self._home.household

    async def run(self) -> None:
        """Connects, serves and connects again, until cancelled."""
        while True:
            connected_at_s = time.monotonic()
            try:
                await self._connect_and_serve(self._latest_home())
            except (nats.errors.Error, OSError) as error:
                self._lost(str(error))
            if time.monotonic() - connected_at_s > _STABLE_AFTER_S:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next_s())

    def _latest_home(self) -> HomeFile:
        """The home file as it is now, or as it was when it cannot be read or has become another household's."""
        try:
            home = read_home(self._path)
        except (OSError, ValueError) as error:
            logger.warning("home file unusable, going on with the last one", extra={"error": str(error)})
            return self._home
        if home.household == self._home.household:
            self._home = home
        else:
            logger.error("home file is another household's now, going on with the last one")
        return self._home

    async def _connect_and_serve(self, home: HomeFile) -> None:
        closed = asyncio.Event()
        client = await self._connect(home, closed)
        self._health.ok("broker")
        metrics.CONNECTED.set(1)
        logger.info("connected", extra={"household": home.household, "shard": home.shard})
        serving = asyncio.ensure_future(self._serve(client, home))
        ending = asyncio.ensure_future(closed.wait())
        try:
            await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
        finally:
            metrics.CONNECTED.set(0)
            for task in (serving, ending):
                task.cancel()
            await asyncio.gather(serving, ending, return_exceptions=True)
            await _close(client)
        self._lost(str(client.last_error or "connection closed"))

    async def _connect(self, home: HomeFile, closed: asyncio.Event) -> Client:
        self._turn += 1
        server = home.servers[self._turn % len(home.servers)]

        async def on_closed() -> None:
            closed.set()

        client = Client()
        try:
            async with asyncio.timeout(2 * _CONNECT_WITHIN_S):
                await client.connect(
                    server,
                    name=f"agent {home.household}",
                    user_credentials=RawCredentials(home.credentials),
                    inbox_prefix=subjects.agent_inbox(home.household),
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=_CONNECT_WITHIN_S,
                    ping_interval=_PING_EVERY_S,
                    max_outstanding_pings=_LOST_PINGS,
                    error_cb=self._hear_error,
                    closed_cb=on_closed,
                )
        except Exception as error:
            # Its own errors, those of the key library, and for some servers a plain TypeError: none may end an agent.
            raise ConnectionError(str(error) or type(error).__name__) from error
        finally:
            if not client.is_connected:
                # The library leaves the socket of a refused connection open.
                await _close(client)
        return client

    async def _hear_error(self, error: Exception) -> None:
        if not isinstance(error, nats.errors.Error):
            return  # a refused or broken connection, which `run` tells
        # The server names the subject in it: our own, no secret.
        logger.warning("broker says", extra={"error": str(error)[:200]})
        if "permissions violation for publish" in str(error).lower():
            self._on_refusal("permission")

    def _lost(self, reason: str) -> None:
        self._health.trouble("broker", "not connected")
        logger.warning("not connected", extra={"household": self._home.household, "reason": reason[:200]})


async def _close(client: Client) -> None:
    try:
        # Python 3.11's wait_for swallows a cancellation that comes in the moment of success.
        async with asyncio.timeout(_CLOSE_WITHIN_S):
            await client.close()
    except (nats.errors.Error, OSError, AssertionError) as error:
        # AssertionError: it never came as far as to a server.
        logger.debug("connection not closed cleanly", extra={"error": str(error)})
