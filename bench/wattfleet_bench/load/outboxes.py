"""What the agents of a load sent, as their outboxes tell it: every message, acknowledged or not.

An outbox keeps what was acknowledged for 48 h, so up to that age this is the whole truth that a store can be compared
with. The files are only read; of an agent that was killed, the write-ahead log counts too.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.wire import codec

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A message in an outbox. acknowledged: the platform said that it holds it."""

    sequence: int
    interval_start_ms: int
    message: bytes
    acknowledged: bool

    @property
    def readings(self) -> HomeReadings:
        """What is in it."""
        return codec.decode(self.message)


def outbox_files(folder: Path) -> dict[HouseholdId, Path]:
    """The outboxes of the load in `folder`, by household."""
    paths = sorted((folder / "outboxes").glob("h*.db"))
    return {parse_household_id(path.stem): path for path in paths}


def kept(outbox: Path) -> list[Kept]:
    """All messages in the file `outbox`, by their numbers; raises sqlite3.DatabaseError when it cannot be read."""
    with closing(sqlite3.connect(f"{outbox.absolute().as_uri()}?mode=ro", uri=True)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages'").fetchone():
            return []  # its agent was killed while it was made
        rows = database.execute(
            "SELECT sequence, interval_start_ms, message, acknowledged_at_ms IS NOT NULL"
            " FROM messages ORDER BY sequence"
        ).fetchall()
    return [Kept(sequence, start_ms, message, bool(known)) for sequence, start_ms, message, known in rows]


def all_kept(folder: Path) -> Iterator[tuple[HouseholdId, list[Kept]]]:
    """Every household of the load in `folder` with all its messages."""
    for household, path in outbox_files(folder).items():
        yield household, kept(path)


def write_manifest(folder: Path) -> Path:
    """Writes what each agent sent, by household, beside the outboxes that hold the messages; returns the file."""
    files = outbox_files(folder)
    homes = [
        {
            "household": household,
            "outbox": str(path.relative_to(folder)),
            "messages": len(messages),
            "acknowledged": sum(message.acknowledged for message in messages),
            "first_sequence": messages[0].sequence if messages else None,
            "last_sequence": messages[-1].sequence if messages else None,
            "first_minute_ms": min((message.interval_start_ms for message in messages), default=None),
            "last_minute_ms": max((message.interval_start_ms for message in messages), default=None),
        }
        for household, path in files.items()
        for messages in (kept(path),)
    ]
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(homes, indent=1) + "\n")
    return manifest
