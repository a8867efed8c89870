"""NATS as the operator's broker: accounts through the server's own resolver, streams through JetStream.

Account tokens are computed at every look from the identities in the vault, and pushed only when the server holds
something else. Revocations are recorded before they are pushed, so that a crash in between only delays the push.
"""

import asyncio
from time import time

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import BadRequestError, KeyNotFoundError, NotFoundError
from wattfleet_tenants import accounts, permissions, subjects
from wattfleet_tenants.adapters import jetstream
from wattfleet_tenants.credentials import (
    Claims,
    Identity,
    account_token,
    creds_file,
    new_identity,
    scoped_user_token,
)
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.adapters.nats_connections import NatsConnections
from wattfleet_operator.adapters.nats_identities import (
    NatsIdentities,
    gateway_credential,
    reader_credential,
    writer_credential,
)
from wattfleet_operator.credential import LIFETIME, Credential, read_credential
from wattfleet_operator.ports import Vault
from wattfleet_operator.revocations import Revocations, says_the_same

_STREAM_EXISTS_OTHERWISE = 10058  # JSStreamNameExistErr: a stream of that name, with another configuration


class NatsBroker:
    """The shards' accounts and streams on `servers`; its identities are kept in `vault`."""

    def __init__(self, servers: tuple[str, ...], vault: Vault) -> None:
        self._servers = servers
        self._identities = NatsIdentities(vault)
        self._nats = NatsConnections(servers, self._identities)
        self._revoking = asyncio.Lock()

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs that agents and the gateway connect to."""
        return self._servers

    async def close(self) -> None:
        """Ends the operator's own connections."""
        await self._nats.close()

    async def ensure_accounts(self, shard: ShardId) -> None:
        """The shard's two accounts are in force, and its writer, reader and gateway have credentials in the vault."""
        edge, ing = await self._identities.edge(shard), await self._identities.ing(shard)
        await self._identities.ensure_user(writer_credential(shard), ing, permissions.writer(shard))
        await self._identities.ensure_user(reader_credential(shard), ing, permissions.reader(shard))
        await self._identities.ensure_user(gateway_credential(shard), edge, permissions.gateway())
        await self._ensure_in_force(ing, subjects.ing_account(shard), accounts.ing_claims(shard))
        async with self._revoking:
            await self._ensure_edge(shard, await self._identities.revocations(shard))

    async def ensure_streams(self, shard: ShardId) -> None:
        """The shard's streams, its writer's consumer and its households bucket are there."""
        async with self._nats.jetstream(shard) as js:
            await _ensure_stream(js, jetstream.measurement_stream(shard))
            await _ensure_stream(js, jetstream.quarantine_stream(shard))
            await js.add_consumer(subjects.measurement_stream(shard), jetstream.writer_consumer())
            try:
                await js.key_value(subjects.HOUSEHOLDS_BUCKET)
            except NotFoundError:
                await js.create_key_value(jetstream.households_bucket())

    async def assign(self, shard: ShardId, household: HouseholdId) -> None:
        """The shard's writer takes this household's readings."""
        async with self._nats.jetstream(shard) as js:
            bucket = await js.key_value(subjects.HOUSEHOLDS_BUCKET)
            try:
                await bucket.get(household)
            except KeyNotFoundError:
                await bucket.put(household, b"")

    async def unassign(self, shard: ShardId, household: HouseholdId) -> None:
        """The shard's writer refuses this household's readings."""
        async with self._nats.jetstream(shard) as js:
            bucket = await js.key_value(subjects.HOUSEHOLDS_BUCKET)
            try:
                await bucket.get(household)
            except KeyNotFoundError:
                return
            await bucket.delete(household)

    async def waiting(self, shard: ShardId, household: HouseholdId) -> int:
        """How many readings of the household are not stored yet."""
        subject = subjects.measurements(shard, household)
        async with self._nats.jetstream(shard) as js:
            info = await js.stream_info(subjects.measurement_stream(shard), subjects_filter=subject)
        return (info.state.subjects or {}).get(subject, 0)

    async def purge(self, shard: ShardId, household: HouseholdId) -> None:
        """No reading of the household waits in the shard's streams."""
        async with self._nats.jetstream(shard) as js:
            stream, refused = subjects.measurement_stream(shard), subjects.quarantine_stream(shard)
            await js.purge_stream(stream, subject=subjects.measurements(shard, household))
            await js.purge_stream(refused, subject=subjects.quarantine(shard, household, "*"))

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

    async def revoke(self, shard: ShardId, credential: Credential) -> None:
        """The credential's key is refused from now on, and whoever uses it is cut off."""
        async with self._revoking:
            revocations = await self._identities.revocations(shard)
            if revocations.get(credential.user_key, -1) < credential.issued.timestamp():
                revocations[credential.user_key] = int(time())
                await self._identities.record_revocations(shard, revocations)
            await self._ensure_edge(shard, revocations)

    async def close_accounts(self, shard: ShardId) -> None:
        """Nobody connects to the shard's accounts any more; their keys stay, for a shard of that name to come back."""
        closed = {"limits": {"conn": 0}}
        await self._ensure_in_force(await self._identities.edge(shard), subjects.edge_account(shard), closed)
        await self._ensure_in_force(await self._identities.ing(shard), subjects.ing_account(shard), closed)

    async def _ensure_edge(self, shard: ShardId, revocations: Revocations) -> None:
        ing, household_key = await self._identities.ing(shard), await self._identities.households(shard)
        claims = accounts.edge_claims(shard, ing.public_key, (household_key.public_key,))
        claims["revocations"] = dict(revocations)
        await self._ensure_in_force(await self._identities.edge(shard), subjects.edge_account(shard), claims)

    async def _ensure_in_force(self, account: Identity, name: str, claims: Claims) -> None:
        wished = account_token(await self._identities.operator(), account.public_key, name, claims)
        held = await self._nats.ask_system(f"$SYS.REQ.ACCOUNT.{account.public_key}.CLAIMS.LOOKUP", "")
        if not held or not says_the_same(held, wished):
            await self._nats.update_account(wished)


async def _ensure_stream(js: JetStreamContext, wished: StreamConfig) -> None:
    """The stream is there as wished; a change of its limits keeps what is in it."""
    try:
        await js.add_stream(wished)
    except BadRequestError as error:
        if error.err_code != _STREAM_EXISTS_OTHERWISE:
            raise
        await js.update_stream(wished)
