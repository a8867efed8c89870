"""Who is who in NATS: the keys and credentials of an installation, each minted once and kept in the vault.

Names in the vault are paths, because on one machine they are read as files by the processes that use them. A
credential is renewed when the permissions of its role have changed, with the key that it had.
"""

import json
from datetime import UTC, datetime
from functools import lru_cache

from wattfleet_tenants.credentials import Identity, creds_file, new_identity, user_token
from wattfleet_tenants.permissions import Permissions
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.credential import seed_in, token_in
from wattfleet_operator.ports import Vault
from wattfleet_operator.revocations import Revocations, says_the_same, without_expired
from wattfleet_operator.vault_names import all_of, identity, revocations


class NatsIdentities:
    """The identities of an installation, in `vault`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def operator(self) -> Identity:
        """Who signs accounts."""
        return await self._identity("nats/operator.seed", "operator")

    async def system(self) -> Identity:
        """The account through which other accounts are pushed to the servers."""
        return await self._identity("nats/system.seed", "account")

    async def edge(self, shard: ShardId) -> Identity:
        """The account of a shard's agents."""
        return await self._identity(identity(shard, "edge"), "account")

    async def ing(self, shard: ShardId) -> Identity:
        """The account of a shard's streams, where ingest, writer and reader work."""
        return await self._identity(identity(shard, "ing"), "account")

    async def households(self, shard: ShardId) -> Identity:
        """The scoped key that signs a shard's households, and nobody else."""
        return await self._identity(identity(shard, "households"), "account")

    async def ensure_user(self, name: str, account: Identity, wished: Permissions) -> None:
        """A credential with exactly the permissions `wished` is kept under `name`."""
        kept = await self._vault.keep(name, lambda: _credential(account, new_identity("user"), name, wished))
        renewed = _credential(account, Identity(seed_in(kept)), name, wished)
        if not says_the_same(token_in(kept), token_in(renewed)):
            await self._vault.replace(name, renewed)

    async def revocations(self, shard: ShardId) -> dict[str, int]:
        """The revocations that still matter, by the user's public key."""
        kept = await self._vault.keep(revocations(shard), lambda: "{}")
        return without_expired(json.loads(kept), datetime.now(UTC))

    async def record_revocations(self, shard: ShardId, recorded: Revocations) -> None:
        """Replaces the revocations of a shard."""
        await self._vault.replace(revocations(shard), json.dumps(dict(recorded)))

    async def forget(self, shard: ShardId) -> None:
        """Nothing is kept of a shard: one of that name that comes later has identities of its own."""
        for name in all_of(shard):
            await self._vault.forget(name)

    async def _identity(self, name: str, kind: str) -> Identity:
        return _identity_of(await self._vault.keep(name, lambda: new_identity(kind).seed))


@lru_cache(1024)
def _identity_of(seed: str) -> Identity:
    """Read once: every look at a household needs those of its shard."""
    return Identity(seed)


def _credential(account: Identity, user: Identity, name: str, permissions: Permissions) -> str:
    return creds_file(user_token(account, account.public_key, user.public_key, name, permissions), user)
