"""The outbox's file: its tables, how it is opened, and what happens when it is damaged.

A file that is damaged, or no database at all, is moved aside and never deleted: somebody may still want what is in it.
Only one agent works on an outbox; a lock file beside it keeps a second one out, and falls with the process.
"""

import fcntl
import logging
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from wattfleet_tenants.household import HouseholdId

from wattfleet_agent.sequence_reserve import SequenceReserve

logger = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
    sequence INTEGER PRIMARY KEY,
    interval_start_ms INTEGER NOT NULL,
    message BLOB NOT NULL,
    acknowledged_at_ms INTEGER
);
CREATE INDEX IF NOT EXISTS waiting ON messages (interval_start_ms, sequence) WHERE acknowledged_at_ms IS NULL;
CREATE INDEX IF NOT EXISTS kept ON messages (acknowledged_at_ms) WHERE acknowledged_at_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS recorded (interval_start_ms INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS counter (household TEXT NOT NULL, next_sequence INTEGER NOT NULL, bookmark TEXT NOT NULL);
"""
_BUSY_S = 10.0


def open_database(
    path: Path, household: HouseholdId, reserve: SequenceReserve, repair: bool = True
) -> sqlite3.Connection:
    """The outbox of `household` at `path`, made anew when it is missing or damaged and `repair` is allowed.

    Raises OSError when the file cannot be used at all, ValueError when it belongs to another household.
    """
    damaged = False
    if not repair and not path.exists():
        raise FileNotFoundError(f"there is no outbox {path}")
    try:
        database = _open(path)
    except sqlite3.OperationalError as error:
        raise OSError(f"the outbox {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        if not repair:
            raise OSError(f"the outbox {path} is damaged: {error}") from error
        _move_aside(path, error)
        damaged, database = True, _open(path)
    _claim(database, path, household, reserve.first_after_loss(damaged))
    return database


def lock(path: Path) -> TextIO:
    """The lock on the outbox at `path`, held until it is closed; raises OSError when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise OSError(f"another agent is working on the outbox {path}") from error
    return file


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Transactions are begun by hand (isolation_level None), each with what it must do as a whole.
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _check(database)
        database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _claim(database: sqlite3.Connection, path: Path, household: HouseholdId, first_sequence: int) -> None:
    database.execute(
        "INSERT INTO counter SELECT ?, ?, '' WHERE NOT EXISTS (SELECT 1 FROM counter)", (household, first_sequence)
    )
    (owner,) = database.execute("SELECT household FROM counter").fetchone()
    if owner != household:
        database.close()
        raise ValueError(f"the outbox {path} belongs to household {owner}, not to {household}")


def _move_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    logger.error("outbox damaged, moved aside", extra={"moved_to": str(aside), "error": str(error)})
