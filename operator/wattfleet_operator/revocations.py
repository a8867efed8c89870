"""What a shard's EDGE account refuses, and whether a token has to be pushed at all.

A revocation names a user's public key and a second: tokens made out to that key up to then are refused. It may be
forgotten when the last of those tokens has expired anyway, which keeps the account's token small.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wattfleet_tenants.credentials import claims_of

from wattfleet_operator.credential import LIFETIME

Revocations = Mapping[str, int]
"""By the user's public key, the Unix time (s) up to which its tokens are refused."""


def without_expired(revocations: Revocations, now: datetime) -> dict[str, int]:
    """The revocations that still matter: a token issued before its revocation ends within its lifetime."""
    oldest_s = (now - LIFETIME).timestamp()
    return {key: at_s for key, at_s in revocations.items() if at_s > oldest_s}


def says_the_same(token: str, other: str) -> bool:
    """Whether two tokens differ only in when they were minted."""
    return _without_minting(claims_of(token)) == _without_minting(claims_of(other))


def _without_minting(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name not in ("iat", "jti")}
