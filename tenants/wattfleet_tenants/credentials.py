"""NATS identities: the JSON Web Tokens of operator, accounts and users, minted offline.

The format is NATS' JWT version 2 (an `ed25519-nkey` signature over header and claims, claims under `nats`). No library
on PyPI mints these, and the format is small. Households are signed with a scoped signing key: their token carries no
permissions at all, the account's template gives every one the same, made out to the name in its token. Hence a
token is only ever made out to a checked household id.
"""

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import nkeys

from wattfleet_tenants.household import parse_household_id
from wattfleet_tenants.permissions import Permissions

Claims = dict[str, Any]

_PREFIXES = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_NO_LIMIT = -1


class Identity:
    """A key pair of NATS: `public_key` is known to all, `seed` to its owner only."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._keys = nkeys.from_seed(bytearray(seed.encode()))
        self.public_key: str = self._keys.public_key.decode()

    def __repr__(self) -> str:
        return f"Identity({self.public_key})"

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`."""
        signature: bytes = self._keys.sign(message)
        return signature


def new_identity(kind: str) -> Identity:
    """A fresh identity of kind "operator", "account" or "user"."""
    return Identity(nkeys.encode_seed(os.urandom(32), _PREFIXES[kind]).decode())


def operator_token(operator: Identity, system_account: str) -> str:
    """The operator's own token; account tokens must be signed by it, and `system_account` may push them."""
    return _mint(operator, operator.public_key, "wattfleet", {"type": "operator", "system_account": system_account})


def account_token(operator: Identity, account: str, name: str, claims: Mapping[str, Any]) -> str:
    """The token of the account with public key `account`; `claims` adds limits, imports, exports and signing keys."""
    limits = {
        **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn"), _NO_LIMIT),
        "leaf": 0,
        "wildcards": True,
        "disallow_bearer": True,
        **claims.get("limits", {}),
    }
    return _mint(operator, account, name, {**claims, "type": "account", "limits": limits})


def deletion_token(operator: Identity, accounts: Sequence[str]) -> str:
    """What makes a server forget the tokens of these accounts (public keys), signed by their operator."""
    return _mint(operator, operator.public_key, "wattfleet", {"type": "generic", "accounts": list(accounts)})


def user_token(issuer: Identity, account: str, user: str, name: str, permissions: Permissions) -> str:
    """A token for the user with public key `user`, with permissions of its own, signed by an account's plain key."""
    claims = {
        "type": "user",
        "issuer_account": account,
        **dict.fromkeys(("subs", "data", "payload"), _NO_LIMIT),
        **permissions.claims(),
    }
    return _mint(issuer, user, name, claims)


def scoped_user_token(scoped_key: Identity, account: str, user: str, name: str, expires_at_s: int) -> str:
    """A token whose permissions are the template of the account's `scoped_key`, until `expires_at_s` (Unix time, s).

    Raises ValueError when `name` is no household id: a token made out to `*` would open every household.
    """
    parse_household_id(name)
    return _mint(scoped_key, user, name, {"type": "user", "issuer_account": account}, expires_at_s)


def scoped_signing_key(key: str, role: str, template: Permissions) -> Claims:
    """An entry of an account's `signing_keys`: whoever is signed by `key` gets exactly `template`."""
    limits = {"data": _NO_LIMIT, "payload": template.max_payload_bytes, "subs": template.max_subscriptions}
    return {"kind": "user_scope", "key": key, "role": role, "template": {**limits, **template.claims()}}


def creds_file(token: str, user: Identity) -> str:
    """The text of a `.creds` file, as NATS clients read it: the token and the seed that proves it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def claims_of(token: str) -> Claims:
    """The claims inside `token`, unverified: to see what we minted, never to decide who somebody is."""
    payload = token.split(".")[1]
    claims: Claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _mint(issuer: Identity, subject: str, name: str, nats: Claims, expires_at_s: int | None = None) -> str:
    claims: Claims = {
        "iat": int(time.time()),
        "iss": issuer.public_key,
        "name": name,
        "sub": subject,
        "nats": {**nats, "version": 2},
    }
    if expires_at_s is not None:
        claims["exp"] = expires_at_s
    claims["jti"] = base64.b32encode(hashlib.sha256(_json(claims)).digest()).decode().rstrip("=")
    signed = _base64(_json(_HEADER)) + "." + _base64(_json(claims))
    return signed + "." + _base64(issuer.sign(signed.encode()))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
