"""NATS as the operator's broker: accounts through the server's own resolver, streams through JetStream.

Account tokens are computed at every look from the identities in the vault, and pushed only when the server holds
something else. Revocations are recorded before they are pushed, so that a crash in between only delays the push.
"""

import asyncio
from dataclasses import replace
from datetime import datetime
from time import time
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, RawStreamMsg, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError
from nats.js.kv import KV_DEL, KV_OP
from wattfleet_tenants import accounts, permissions, subjects
from wattfleet_tenants.adapters import jetstream
from wattfleet_tenants.adapters.assignments import assigned, leaving
from wattfleet_tenants.credentials import (
    Claims,
    Identity,
    account_token,
    creds_file,
    deletion_token,
    new_identity,
    scoped_user_token,
)
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.nats_connections import NatsConnections
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.credential import LIFETIME, Credential, read_credential
from wattfleet_operator.ports import Vault
from wattfleet_operator.revocations import Revocations, says_the_same
from wattfleet_operator.vault_names import (
    gateway_credential,
    ingest_credential,
    ingest_edge_credential,
    reader_credential,
    writer_credential,
)

_STREAM_EXISTS_OTHERWISE = 10058  # JSStreamNameExistErr: a stream of that name, with another configuration


class NatsBroker:
    """The shards' accounts and streams on `servers`; its identities are kept in `vault`.

    edge_servers: the same servers as agents reach them. stream_replicas: on how many of them each stream is kept.
    """

    def __init__(
        self,
        servers: tuple[str, ...],
        vault: Vault,
        edge_servers: tuple[str, ...] | None = None,
        stream_replicas: int = 1,
    ) -> None:
        self._edge_servers = edge_servers or servers
        self._stream_replicas = stream_replicas
        self._identities = NatsIdentities(vault)
        self._nats = NatsConnections(servers, self._identities)
        self._revoking = asyncio.Lock()

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs that agents and the gateway connect to."""
        return self._edge_servers

    async def close(self) -> None:
        """Ends the operator's own connections."""
        await self._nats.close()

    async def ensure_accounts(self, shard: ShardId) -> None:
        """The shard's two accounts are in force, and its processes and the gateway have credentials in the vault."""
        edge, ing = await self._identities.edge(shard), await self._identities.ing(shard)
        await self._identities.ensure_user(ingest_credential(shard), ing, permissions.ingest(shard))
        await self._identities.ensure_user(ingest_edge_credential(shard), edge, permissions.ingest_edge(shard))
        await self._identities.ensure_user(writer_credential(shard), ing, permissions.writer(shard))
        await self._identities.ensure_user(reader_credential(shard), ing, permissions.reader(shard))
        await self._identities.ensure_user(gateway_credential(shard), edge, permissions.gateway())
        await self._ensure_in_force(ing, subjects.ing_account(shard), accounts.ing_claims())
        async with self._revoking:
            await self._ensure_edge(shard, await self._identities.revocations(shard))

    async def ensure_streams(self, shard: ShardId) -> None:
        """The shard's streams with their consumers, and its buckets, are there."""
        async with self._nats.jetstream(shard) as js:
            for lane in subjects.Lane:
                await self._ensure_stream(js, jetstream.bundle_stream(shard, lane))
                await js.add_consumer(subjects.bundle_stream(shard, lane), jetstream.writer_consumer())
            await self._ensure_stream(js, jetstream.quarantine_stream(shard))
            await self._ensure_bucket(js, jetstream.households_bucket())
            await self._ensure_bucket(js, jetstream.ledger_bucket())

    async def assign(self, shard: ShardId, household: HouseholdId, quota: Quota) -> None:
        """The shard takes this household's readings, as much of them as `quota` allows."""
        wished = assigned(quota)
        async with self._nats.jetstream(shard) as js:
            entry = await _entry(js, household)
            if entry is None or (entry.data or b"") != wished:
                await js.publish(_entry_subject(household), wished)

    async def leave(self, shard: ShardId, household: HouseholdId) -> datetime | None:
        """The household sends no more, and the writer still takes what it has sent. Returns since when, by the
        broker's clock; None when it is not assigned."""
        async with self._nats.jetstream(shard) as js:
            entry = await _entry(js, household)
            if entry is not None and (value := entry.data or b"") != leaving(value):
                await js.publish(_entry_subject(household), leaving(value))
                entry = await _entry(js, household)
        return entry.time if entry is not None else None

    async def oldest_waiting(self, shard: ShardId) -> datetime | None:
        """When, by the broker's clock, the oldest reading in the shard's streams came in; None when all are settled."""
        states = await self._lanes(shard)
        firsts = [datetime.fromisoformat(state["first_ts"]) for state in states if state["messages"]]
        return min(firsts, default=None)

    async def waiting(self, shard: ShardId) -> int:
        """How many bundles of readings wait in the shard's streams to be stored."""
        return sum(state["messages"] for state in await self._lanes(shard))

    async def _lanes(self, shard: ShardId) -> list[dict[str, Any]]:
        return [await self._nats.stream_state(shard, subjects.bundle_stream(shard, lane)) for lane in subjects.Lane]

    async def unassign(self, shard: ShardId, household: HouseholdId) -> None:
        """The shard's writer refuses this household's readings."""
        async with self._nats.jetstream(shard) as js:
            if await _entry(js, household) is not None:
                await js.publish(_entry_subject(household), headers={KV_OP: KV_DEL})

    async def purge_quarantine(self, shard: ShardId, household: HouseholdId) -> None:
        """Nothing is kept of what was refused of the household."""
        async with self._nats.jetstream(shard) as js:
            refused = subjects.quarantine(shard, household, "*")
            await js.purge_stream(subjects.quarantine_stream(shard), subject=refused)

    async def accepts(self, shard: ShardId, credential: Credential) -> bool:
        """Whether `credential` is neither revoked nor signed by a key that is no longer used."""
        household_key = (await self._identities.households(shard)).public_key
        revoked_at_s = (await self._identities.revocations(shard)).get(credential.user_key, -1)
        return credential.signing_key == household_key and credential.issued.timestamp() > revoked_at_s

    async def mint(self, shard: ShardId, household: HouseholdId, renewed: Credential | None) -> Credential:
        """A new credential, made out to the key of `renewed` when there is one. Nothing outside changes."""
        edge, signing_key = await self._identities.edge(shard), await self._identities.households(shard)
        user = Identity(renewed.seed) if renewed is not None else new_identity("user")
        expires_at_s = int(time() + LIFETIME.total_seconds())
        name = parse_household_id(household)
        token = scoped_user_token(signing_key, edge.public_key, user.public_key, name, expires_at_s)
        return read_credential(creds_file(token, user))

    async def revoke(self, shard: ShardId, user_key: str) -> None:
        """Credentials made out to this public key are refused from now on, and whoever uses one is cut off."""
        async with self._revoking:
            revocations = await self._identities.revocations(shard)
            if user_key not in revocations:  # a key that is revoked gets no credential any more
                revocations[user_key] = int(time())
                await self._identities.record_revocations(shard, revocations)
            await self._ensure_edge(shard, revocations)

    async def remove(self, shard: ShardId) -> None:
        """Nothing of the shard is left: its streams first, then its accounts, its keys last."""
        edge, ing = await self._identities.edge(shard), await self._identities.ing(shard)
        if await self._in_force(ing):
            async with self._nats.jetstream(shard) as js:
                for stream in await js.streams_info():
                    await js.delete_stream(stream.config.name or "")
        await self._nats.forget(ing)
        there = [account.public_key for account in (edge, ing) if await self._in_force(account)]
        if there:
            await self._nats.delete_accounts(deletion_token(await self._identities.operator(), there))
        await self._identities.forget(shard)

    async def _ensure_edge(self, shard: ShardId, revocations: Revocations) -> None:
        household_key = await self._identities.households(shard)
        claims = accounts.edge_claims((household_key.public_key,))
        claims["revocations"] = dict(revocations)
        await self._ensure_in_force(await self._identities.edge(shard), subjects.edge_account(shard), claims)

    async def _in_force(self, account: Identity) -> str:
        """The account's token as the servers have it; empty when they have none."""
        return await self._nats.ask_system(f"$SYS.REQ.ACCOUNT.{account.public_key}.CLAIMS.LOOKUP", "")

    async def _ensure_stream(self, js: JetStreamContext, wished: StreamConfig) -> None:
        """The stream is there as wished; a change of its limits keeps what is in it."""
        wished = replace(wished, num_replicas=self._stream_replicas)
        try:
            await js.add_stream(wished)
        except BadRequestError as error:
            if error.err_code != _STREAM_EXISTS_OTHERWISE:
                raise
            await js.update_stream(wished)

    async def _ensure_bucket(self, js: JetStreamContext, wished: KeyValueConfig) -> None:
        try:
            await js.key_value(wished.bucket)
        except NotFoundError:
            await js.create_key_value(replace(wished, replicas=self._stream_replicas))

    async def _ensure_in_force(self, account: Identity, name: str, claims: Claims) -> None:
        wished = account_token(await self._identities.operator(), account.public_key, name, claims)
        held = await self._in_force(account)
        if not held or not says_the_same(held, wished):
            await self._nats.update_account(wished)


async def _entry(js: JetStreamContext, household: HouseholdId) -> RawStreamMsg | None:
    """What the households bucket says of a household, with the moment; None when it does not carry it.

    Read and written as a message of the bucket's stream: the client's own entries do not tell when they were made, and
    its buckets ask for the whole stream first.
    """
    try:
        entry = await js.get_last_msg(f"KV_{subjects.HOUSEHOLDS_BUCKET}", _entry_subject(household), direct=True)
    except NotFoundError:
        return None
    return None if entry.headers and KV_OP in entry.headers else entry


def _entry_subject(household: HouseholdId) -> str:
    return f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{household}"
