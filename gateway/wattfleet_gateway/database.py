"""The gateway's database: SQLite for one process, PostgreSQL for several at once.

Whatever a PostgreSQL goes through, the gateway goes on by itself: a connection is tried before it is used, one that
went silent is given up within seconds, and what cannot be had at once is an error that people are told. No error tells
a password or a value.
"""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlmodel import create_engine

_FORMS = "sqlite:////FOLDER/gateway.db or postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_PSYCOPG = "postgresql+psycopg"
_POSTGRESQL = ("postgresql", "postgres", _PSYCOPG)
_BUSY_TIMEOUT_MS = 5_000
# A server has 100 connections unless told otherwise: room for nine gateways.
_CONNECTIONS, _CONNECTION_WITHIN_S = 10, 5
# libpq's names, all times but one in seconds. A URL may say otherwise.
_CONNECT: dict[str, object] = {
    "target_session_attrs": "read-write",  # not one that has become, or still is, another's copy
    "connect_timeout": 8,
    "tcp_user_timeout": 5_000,  # ms
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def open_database(text: str) -> Engine:
    """An engine for the URL in `text`; connects to nothing yet. Raises ValueError saying how such a URL looks.

    A new SQLite file is readable by its owner only, since sessions are in it.
    """
    url = _parsed(text)
    if url.drivername == _PSYCOPG:
        return _postgresql(url)
    _create_private_file(url.database)
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def words(error: SQLAlchemyError) -> str:
    """What the database, or its driver, says is wrong: one line for whoever runs the gateway."""
    said = str(error.orig).strip() if isinstance(error, DBAPIError) else ""
    return said.splitlines()[0][:300] if said else type(error).__name__


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not with the library's error as its cause, which may quote a piece of the password.
        raise ValueError(f"the database's URL cannot be read; it is {_FORMS}") from None
    if "@" in f"{url.host}{url.database}" and url.drivername != "sqlite":
        raise ValueError("the database's URL has an @ too many: write one that belongs to the password as %40")
    if url.drivername in _POSTGRESQL:
        return url.set(drivername=_PSYCOPG)
    if url.drivername != "sqlite":
        raise ValueError(f"the database's URL names none that the gateway can use; it is {_FORMS}")
    return url


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url,
        hide_parameters=True,
        # Whoever waited for a row sees what became of it, whatever the server's own default is.
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_CONNECTION_WITHIN_S,
        connect_args={name: value for name, value in _CONNECT.items() if name not in url.query},
    )


def _create_private_file(database: str | None) -> None:
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(database, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # WAL: people read while somebody is written. SQLite checks foreign keys only when asked to.
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", f"busy_timeout = {_BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")
