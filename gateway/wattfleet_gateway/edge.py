"""How the gateway reaches agents: over NATS, in the account that a shard's agents share, with rights to ask and hear.

A command names a fresh inbox, and the broker lets the agent answer there for as long as its lease lasts and no longer.
Inboxes are random, so that one home's answers cannot be aimed at another's viewers.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, Self

import nats
from nats.aio.msg import Msg
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

from wattfleet_gateway.fleet import Placement

Hear = Callable[[bytes], None]

_CONNECT_TIMEOUT_S = 5.0


class EdgeUnavailable(Exception):
    """The shard's broker cannot be reached now."""


class Edge(Protocol):
    """Asks agents for live readings."""

    def lease(
        self, placement: Placement, household: HouseholdId, command: bytes, hear: Hear
    ) -> AbstractAsyncContextManager[None]:
        """Sends `command` to the household's agent; while the context lasts, `hear` gets each answer.

        Raises EdgeUnavailable.
        """
        ...


class NatsEdge:
    """One connection per shard, made when first needed, with the credentials `<shard>.creds` in a folder."""

    def __init__(self, credentials: Path) -> None:
        self._credentials = credentials
        self._connections: dict[ShardId, NatsConnection] = {}
        self._connecting = asyncio.Lock()

    @asynccontextmanager
    async def lease(
        self, placement: Placement, household: HouseholdId, command: bytes, hear: Hear
    ) -> AsyncIterator[None]:
        """See `Edge.lease`."""
        client = await self._connection(placement)
        inbox = f"{subjects.GATEWAY_INBOX}.{secrets.token_hex(16)}"

        async def answer(message: Msg) -> None:
            # The broker itself answers, with a header, when no agent listens.
            if not message.headers:
                hear(message.data)

        try:
            subscription = await client.subscribe(inbox, cb=answer)
            await client.publish(subjects.commands(household), command, reply=inbox)
        except (nats.errors.Error, OSError) as error:
            raise EdgeUnavailable(describe(error)) from error
        try:
            yield
        finally:
            if not client.is_closed:
                await subscription.unsubscribe()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        for client in self._connections.values():
            await client.close()

    async def _connection(self, placement: Placement) -> NatsConnection:
        if placement.shard is None or not placement.edge_urls:
            raise EdgeUnavailable("the household is not placed")
        async with self._connecting:
            client = self._connections.get(placement.shard)
            if client is None or client.is_closed:
                client = await self._connect(placement.shard, placement.edge_urls)
                self._connections[placement.shard] = client
        if not client.is_connected:
            raise EdgeUnavailable("reconnecting")
        return client

    async def _connect(self, shard: ShardId, urls: tuple[str, ...]) -> NatsConnection:
        client = NatsConnection()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await client.connect_to(urls, self._credentials / f"{shard}.creds", "gateway", subjects.GATEWAY_INBOX)
        except (nats.errors.Error, OSError, ValueError) as error:
            await client.close()
            raise EdgeUnavailable(describe(error)) from error
        return client
