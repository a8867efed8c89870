"""A session is a signed-in browser: a random cookie there, a row here, and nothing in between.

The cookie says nothing by itself, and the row keeps only its SHA-256, so neither a stolen backup nor a log line opens a
session. Every sign-in makes a new one and ends the old. A session ends when nobody used it for a while, when it
is old, or when the person says so, and with it end the streams and sockets that it opened.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlmodel import Session, col, delete, update

from wattfleet_gateway.store import SessionRow, Store, User

LIFETIME_S = 30 * 24 * 3600
"""After a month a person proves again who they are, however often they look."""
IDLE_S = 7 * 24 * 3600
"""Long enough for somebody who looks once a week."""
# The last use is written at most this often, so that reading a page does not write a row.
_SEEN_EVERY_S = 60
_COOKIE_BYTES = 32


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that holds. session_id: the cookie's hash, fit for keys but not for signing in."""

    session_id: str
    user_id: int
    name: str


class Sessions:
    """The sessions in `store`."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def start(self, user_id: int, id_token: str) -> str:
        """Begins a session and returns its cookie. The provider's id token is kept for signing out there."""
        now_s = int(self._clock())
        self._store.forget_sessions(now_s)
        cookie = secrets.token_urlsafe(_COOKIE_BYTES)
        row = SessionRow(
            id=_hash(cookie), user_id=user_id, id_token=id_token, seen_at_s=now_s, expires_at_s=now_s + LIFETIME_S
        )
        with Session(self._store.engine) as session:
            session.add(row)
            session.commit()
        return cookie

    def find(self, cookie: str | None) -> SignedIn | None:
        """The session of that cookie, if it still holds; this counts as use of it."""
        return self.renew(_hash(cookie)) if cookie else None

    def renew(self, session_id: str) -> SignedIn | None:
        """That session, if it still holds; this counts as use of it."""
        now_s = int(self._clock())
        with Session(self._store.engine) as session:
            row = session.get(SessionRow, session_id)
            if row is None or row.expires_at_s <= now_s or row.seen_at_s + IDLE_S <= now_s:
                return None
            user = session.get_one(User, row.user_id)
            signed_in = SignedIn(row.id, row.user_id, user.name)
            if now_s - row.seen_at_s >= _SEEN_EVERY_S:
                # No error when it was ended at this very moment.
                session.exec(update(SessionRow).where(col(SessionRow.id) == session_id).values(seen_at_s=now_s))
                session.commit()
            return signed_in

    def end(self, cookie: str | None) -> str | None:
        """Ends the session of that cookie; returns its id token, or None when there was no session."""
        if not cookie:
            return None
        with Session(self._store.engine) as session:
            row = session.get(SessionRow, _hash(cookie))
            id_token = row.id_token if row else None
            session.exec(delete(SessionRow).where(col(SessionRow.id) == _hash(cookie)))
            session.commit()
            return id_token


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
