"""Short-lived signed permissions: a grant opens one household to the reader, a command asks an agent for something.

Both are JSON Web Tokens signed by the gateway with Ed25519 (RFC 8037), told apart by their audience, so that neither
can stand in for the other. A reader believes nobody's network position, and an agent obeys nobody's subject: JetStream
acknowledgements with a chosen reply can reach a command subject, but they carry no signature.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wattfleet_tenants.household import HouseholdId, parse_household_id

Audience = Literal["reader", "agent"]

_ALGORITHM = "EdDSA"
_CLOCK_LEEWAY_S = 5


class NotGranted(Exception):
    """The token is missing, forged, expired, for another audience or for another household."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """An Ed25519 key pair as PEM text. The private half stays with the gateway."""

    private_pem: str
    public_pem: str


@dataclass(frozen=True, slots=True)
class Granted:
    """What a valid token says. expires_at_s: Unix time in s. nonce: unique per token."""

    household: HouseholdId
    nonce: str
    expires_at_s: int


def generate_signing_keys() -> SigningKeys:
    """A new key pair for grants and commands."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningKeys(private.decode(), public.decode())


def sign(
    private_pem: str,
    audience: Audience,
    household: HouseholdId,
    lifetime_s: int,
    clock: Callable[[], float] = time.time,
) -> str:
    """A token that lets its bearer act on `household` towards `audience` for `lifetime_s` seconds."""
    now_s = int(clock())
    claims = {
        "aud": audience,
        "sub": household,
        "jti": secrets.token_urlsafe(12),
        "iat": now_s,
        "exp": now_s + lifetime_s,
    }
    return jwt.encode(claims, private_pem, algorithm=_ALGORITHM)


def verify(public_pem: str, audience: Audience, household: HouseholdId, token: str) -> Granted:
    """What `token` grants; raises NotGranted unless it is valid now, for this audience and this very household."""
    try:
        claims = jwt.decode(
            token,
            public_pem,
            algorithms=[_ALGORITHM],
            audience=audience,
            leeway=_CLOCK_LEEWAY_S,
            options={"require": ["aud", "sub", "jti", "iat", "exp"]},
        )
        granted = Granted(parse_household_id(claims["sub"]), claims["jti"], claims["exp"])
    except (jwt.PyJWTError, ValueError) as error:
        raise NotGranted(str(error)) from error
    if granted.household != household:
        raise NotGranted("the token is for another household")
    return granted
