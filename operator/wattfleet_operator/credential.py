"""A household's credential, as it can be read back from its own text, and whether it is time for another one.

The home file is the only record of a credential; of its public key the status knows as well. A renewal keeps the
household's key, so that revoking that one key ends every token that was ever made out to it.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from wattfleet_tenants.crd import USER_KEY_PATTERN
from wattfleet_tenants.credentials import claims_of

LIFETIME = timedelta(days=45)
"""Between 30 and 60 days: about 10,900 revocations fit into an account, and each is kept until its tokens expire."""
RENEWED_BEFORE = LIFETIME / 3

_TOKEN = re.compile(r"-----BEGIN NATS USER JWT-----\s*(\S+)\s")
_SEED = re.compile(r"-----BEGIN USER NKEY SEED-----\s*(\S+)\s")


@dataclass(frozen=True, slots=True)
class Credential:
    """A NATS user's credential. signing_key: who vouches for it. seed: the user's private key."""

    text: str = field(repr=False)
    user_key: str
    signing_key: str
    seed: str = field(repr=False)
    issued: datetime
    expires: datetime

    def fresh(self, now: datetime) -> bool:
        """Whether more than a third of its life is left."""
        return self.expires - now > RENEWED_BEFORE


def token_in(text: str) -> str:
    """The token in the text of a `.creds` file; raises ValueError when there is none."""
    return _part(_TOKEN, text)


def seed_in(text: str) -> str:
    """The user's private key in the text of a `.creds` file; raises ValueError when there is none."""
    return _part(_SEED, text)


def read_credential(text: str) -> Credential:
    """The credential in the text of a `.creds` file; raises ValueError when it holds none."""
    token, seed = token_in(text), seed_in(text)
    try:
        claims = claims_of(token)
        credential = Credential(
            text=text,
            user_key=claims["sub"],
            signing_key=claims["iss"],
            seed=seed,
            issued=datetime.fromtimestamp(claims["iat"], UTC),
            expires=datetime.fromtimestamp(claims["exp"], UTC),
        )
        if not re.fullmatch(USER_KEY_PATTERN, credential.user_key):
            raise ValueError("this NATS credential is made out to no user")
    except (IndexError, KeyError, TypeError, OverflowError, OSError) as error:
        raise ValueError("this is no NATS credential") from error
    return credential


def _part(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise ValueError("this is no NATS credential")
    return found.group(1)
