"""The operator's own connections: one to the system account, one to the ING account of each shard it looks at.

A connection is kept as long as it works and replaced when it does not, so that a look after a server's restart needs
no patience; what goes wrong on one is translated into NotYet here, and nowhere else.
"""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from nats.aio.client import Client, RawCredentials
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from wattfleet_tenants import permissions
from wattfleet_tenants.credentials import Identity, creds_file, new_identity, user_token
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.errors import NotYet

_TIMEOUT_S = 5.0
_PING_EVERY_S = 5
_LOST_PINGS = 2
"""A server that went with its node closes nothing: after three such intervals the connection to it is given up."""


class NatsConnections:
    """Connections to `servers` as the operator, whose identities are `identities`."""

    def __init__(self, servers: tuple[str, ...], identities: NatsIdentities) -> None:
        self._servers = servers
        self._identities = identities
        self._kept: dict[str, Client] = {}
        self._connecting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failed_at_s: defaultdict[str, float] = defaultdict(lambda: -math.inf)

    async def close(self) -> None:
        """Ends all connections."""
        for client in self._kept.values():
            await client.close()
        self._kept.clear()

    async def forget(self, account: Identity) -> None:
        """Ends the connection to this account, if there is one."""
        client = self._kept.pop(account.public_key, None)
        if client is not None:
            await client.close()

    async def ask_system(self, subject: str, payload: str) -> str:
        """What the system account answers to a request; raises NotYet when it does not."""
        async with self._client(await self._identities.system()) as client:
            answer = await client.request(subject, payload.encode(), timeout=_TIMEOUT_S)
        return answer.data.decode()

    async def update_account(self, token: str) -> None:
        """Puts an account's token in force; raises NotYet when the server does not take it."""
        await self._change_claims("UPDATE", token)

    async def delete_accounts(self, token: str) -> None:
        """Has the server forget the accounts that the token names; raises NotYet when it does not."""
        await self._change_claims("DELETE", token)

    async def _change_claims(self, how: str, token: str) -> None:
        answer: dict[str, Any] = json.loads(await self.ask_system(f"$SYS.REQ.CLAIMS.{how}", token))
        if "error" in answer:
            raise NotYet("AccountNotPushed", str(answer["error"].get("description")))

    async def stream_state(self, shard: ShardId, stream: str) -> dict[str, Any]:
        """The `state` of a stream of the shard, with the times that nats-py leaves out; raises NotYet."""
        async with self._client(await self._identities.ing(shard)) as client:
            answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_TIMEOUT_S)
        info: dict[str, Any] = json.loads(answer.data)
        if "error" in info:
            raise NotYet("BrokerUnavailable", f"NATS: {stream}: {info['error'].get('description')}")
        state: dict[str, Any] = info["state"]
        return state

    @asynccontextmanager
    async def jetstream(self, shard: ShardId) -> AsyncIterator[JetStreamContext]:
        """JetStream as the operator in the shard's ING account."""
        async with self._client(await self._identities.ing(shard)) as client:
            yield client.jetstream(timeout=_TIMEOUT_S)

    @asynccontextmanager
    async def _client(self, account: Identity) -> AsyncIterator[Client]:
        try:
            yield await self._connected(account)
        except NoRespondersError as error:
            raise NotYet("BrokerUnavailable", "the account is not ready on the NATS server yet") from error
        except (NatsError, OSError, TimeoutError) as error:
            raise NotYet("BrokerUnavailable", f"NATS: {type(error).__name__}: {error}"[:300]) from error

    async def _connected(self, account: Identity) -> Client:
        # Several who ask at once would each connect, and all but the last be forgotten, open. To those who waited, a
        # failure is said as well: a server that says nothing would keep hundreds waiting, one after the other.
        key, asked_at_s = account.public_key, monotonic()
        async with self._connecting[key]:
            client = self._kept.get(key)
            if client is not None and client.is_connected:
                return client
            if self._failed_at_s[key] >= asked_at_s:
                raise NotYet("BrokerUnavailable", "NATS: another attempt to connect has just failed")
            try:
                return await self._connect(account)
            except Exception:
                self._failed_at_s[key] = monotonic()
                raise

    async def _connect(self, account: Identity) -> Client:
        user = new_identity("user")
        token = user_token(account, account.public_key, user.public_key, "operator", permissions.operator())
        self._kept[account.public_key] = client = Client()
        try:
            await client.connect(
                servers=list(self._servers),
                user_credentials=RawCredentials(creds_file(token, user)),
                name="wattfleet-operator",
                allow_reconnect=False,
                max_reconnect_attempts=1,  # counts first attempts, too: by default it would try for two minutes
                reconnect_time_wait=0,
                connect_timeout=2,
                ping_interval=_PING_EVERY_S,
                max_outstanding_pings=_LOST_PINGS,
                error_cb=_quietly,
            )
        except BaseException:
            await client.close()  # nats-py leaves the socket of a refused connection open
            raise
        return client


async def _quietly(_error: Exception) -> None:
    """Whoever asked gets the error as NotYet; nats-py would print it a second time."""
