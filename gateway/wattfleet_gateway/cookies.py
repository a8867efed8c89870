"""Our cookies, and what is sealed in them: out of reach of scripts, and not sent by other sites' forms.

Over https their names begin with `__Host-`, which makes browsers refuse a cookie that a neighbouring host or an
unencrypted page planted. What a person needs while they are at the identity provider travels in a sealed cookie, so
that nobody who is not signed in can make us store anything.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal, TypedDict

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.responses import Response

from wattfleet_gateway.identity_provider import Attempt

ATTEMPT_LIFETIME_S = 600
"""Ten minutes to find a password."""


class _Flags(TypedDict):
    secure: bool
    httponly: bool
    samesite: Literal["lax"]
    path: str


class Cookies:
    """The cookies of a gateway that browsers reach over https or not."""

    def __init__(self, over_https: bool, secret: bytes) -> None:
        self._prefix = "__Host-" if over_https else ""
        # Lax: a person who follows a link to us, or comes back from the provider, is signed in.
        self._flags: _Flags = {"secure": over_https, "httponly": True, "samesite": "lax", "path": "/"}
        self._seal = Fernet(base64.urlsafe_b64encode(derived_key(secret, "sign-in attempt")))

    @property
    def session_name(self) -> str:
        """The name of the session's cookie."""
        return f"{self._prefix}wattfleet_session"

    def session(self, cookies: Mapping[str, str]) -> str | None:
        """The session's cookie among those that a browser sent."""
        return cookies.get(self.session_name)

    def set_session(self, response: Response, cookie: str, lifetime_s: int) -> None:
        """Gives the browser its session's cookie."""
        response.set_cookie(self.session_name, cookie, max_age=lifetime_s, **self._flags)

    def forget_session(self, response: Response) -> None:
        """Takes the session's cookie back."""
        response.delete_cookie(self.session_name, **self._flags)

    def set_attempt(self, response: Response, attempt: Attempt) -> None:
        """Lets the browser carry `attempt`, which it cannot read. Several tabs may try at once."""
        sealed = self._seal.encrypt(json.dumps(asdict(attempt)).encode()).decode()
        response.set_cookie(self._attempt_name(attempt.state), sealed, max_age=ATTEMPT_LIFETIME_S, **self._flags)

    def attempt(self, cookies: Mapping[str, str], state: str) -> Attempt | None:
        """The attempt that this browser began with `state`, unless it is too old."""
        sealed = cookies.get(self._attempt_name(state), "")
        try:
            attempt = Attempt(**json.loads(self._seal.decrypt(sealed, ttl=ATTEMPT_LIFETIME_S)))
        except (InvalidToken, ValueError):  # ValueError: it is not even ASCII
            return None
        return attempt if attempt.state == state else None

    def forget_attempt(self, response: Response, state: str) -> None:
        """Takes the attempt's cookie back."""
        response.delete_cookie(self._attempt_name(state), **self._flags)

    def _attempt_name(self, state: str) -> str:
        return f"{self._prefix}wattfleet_sign_in_{state[:8]}"


def derived_key(secret: bytes, purpose: str) -> bytes:
    """A 256-bit key for one purpose only, so that no two uses of the secret can be played against each other."""
    return HKDF(SHA256(), length=32, salt=None, info=f"wattfleet gateway: {purpose}".encode()).derive(secret)
