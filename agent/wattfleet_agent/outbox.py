"""The outbox holds every minute from its measurement until the platform has acknowledged it, and 48 h longer.

A minute gets its sequence number in the transaction that stores it; numbers count up by one and are never used again.
When the outbox is full it keeps what it has (the oldest) and refuses what is new, openly counted. It is SQLite in WAL
mode with `synchronous=FULL`: a Pi loses power, and with NORMAL a number that was sent could then be given out again;
one commit a minute costs nothing. What is sent twice is stored once, so acknowledgements may come late or get lost.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import HomeReadings, interval_start
from wattfleet_tenants.wire import codec

from wattfleet_agent.outbox_file import open_database
from wattfleet_agent.sensors import Minute
from wattfleet_agent.sequence_reserve import SequenceReserve

logger = logging.getLogger(__name__)

MOST_MESSAGES = 90 * 24 * 60
"""90 days of minutes: at most 100 MB (a message has up to 534 bytes, 200 with its place for a usual home)."""
KEEP_SENT_MS = 48 * 3600 * 1000
"""The platform may lose what it acknowledged when all of it loses power at once; it can be sent again for so long."""
REMEMBER_MINUTES_MS = 100 * 24 * 3600 * 1000
"""For so long a minute cannot be recorded twice; longer than any history that is filled in."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not acknowledged: `message` is sent as it is, each time the same bytes."""

    sequence: int
    interval_start_ms: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of minutes: their sequence numbers; how many were there before, how many found no room."""

    sequences: range
    repeated: int
    refused: int


@dataclass(frozen=True, slots=True)
class State:
    """How much is in the outbox. oldest_ms: the start of the oldest waiting interval."""

    waiting: int
    kept: int
    oldest_ms: int | None


class Outbox:
    """The outbox of `household` at `path`; with `repair`, one that is missing or damaged is made anew.

    Raises OSError when it cannot be opened and ValueError when it belongs to another household. Its methods raise
    sqlite3.OperationalError when the disk is full or does not answer; nothing is half done then.
    """

    def __init__(
        self,
        path: Path,
        household: HouseholdId,
        most_messages: int = MOST_MESSAGES,
        clock: Callable[[], float] = time.time,
        repair: bool = True,
    ) -> None:
        self._clock = clock
        self.most_messages = most_messages
        self._reserve = SequenceReserve(path)
        self._database = open_database(path, household, self._reserve, repair)

    def append(self, minutes: Sequence[Minute], once: bool = True, bookmark: str | None = None) -> Appended:
        """Stores `minutes` in order, all in one transaction with the `bookmark` of where they came from.

        once: leave out minutes that were recorded before (a recording that is replayed is sent again on purpose).
        """
        with self._transaction():
            new = self._not_recorded(minutes) if once else list(minutes)
            taken = new[: self._make_room(len(new))]
            sequences = self._insert(taken)
            if once:
                self._execute_many("INSERT INTO recorded VALUES (?)", [(m.interval_start_ms,) for m in taken])
            if bookmark is not None:
                self._database.execute("UPDATE counter SET bookmark = ?", (bookmark,))
        return Appended(sequences, len(minutes) - len(new), len(new) - len(taken))

    def waiting(self, after: Waiting | None, begun_before_ms: int, most: int) -> list[Waiting]:
        """Up to `most` messages in order of time, later than `after`, whose interval began by `begun_before_ms`."""
        place = (after.interval_start_ms, after.sequence) if after else (-1, 0)
        rows = self._database.execute(
            "SELECT sequence, interval_start_ms, message FROM messages WHERE acknowledged_at_ms IS NULL"
            " AND (interval_start_ms, sequence) > (?, ?) AND interval_start_ms <= ?"
            " ORDER BY interval_start_ms, sequence LIMIT ?",
            (*place, begun_before_ms, most),
        )
        return [Waiting(*row) for row in rows]

    def newest(self, begun_before_ms: int) -> Waiting | None:
        """The latest message whose interval began by `begun_before_ms`, unless it is acknowledged."""
        row = self._database.execute(
            "SELECT sequence, interval_start_ms, message FROM messages WHERE acknowledged_at_ms IS NULL"
            " AND interval_start_ms <= ? ORDER BY interval_start_ms DESC, sequence DESC LIMIT 1",
            (begun_before_ms,),
        ).fetchone()
        return Waiting(*row) if row else None

    def count_waiting(self, begun_before_ms: int) -> int:
        """How many messages wait whose interval began by `begun_before_ms`."""
        (count,) = self._database.execute(
            "SELECT count(*) FROM messages WHERE acknowledged_at_ms IS NULL AND interval_start_ms <= ?",
            (begun_before_ms,),
        ).fetchone()
        return int(count)

    def acknowledge(self, sequences: Iterable[int]) -> int:
        """The platform holds these; returns how many of them were waiting."""
        with self._transaction():
            return self._execute_many(
                "UPDATE messages SET acknowledged_at_ms = ? WHERE sequence = ? AND acknowledged_at_ms IS NULL",
                [(self._now_ms(), sequence) for sequence in sequences],
            )

    def send_again(self, since_ms: int) -> int:
        """Everything kept whose interval began at `since_ms` or later waits again; returns how many messages."""
        with self._transaction():
            return self._database.execute(
                "UPDATE messages SET acknowledged_at_ms = NULL"
                " WHERE acknowledged_at_ms IS NOT NULL AND interval_start_ms >= ?",
                (since_ms,),
            ).rowcount

    def withdraw(self, from_sequence: int, now_ms: int) -> int:
        """Drops waiting minutes numbered `from_sequence` or higher that have not ended by `now_ms`: their stamps were
        wrong. Returns how many messages; their sequence numbers are not used again."""
        unended_ms = interval_start(now_ms)
        with self._transaction():
            rows = self._database.execute(
                "DELETE FROM messages WHERE acknowledged_at_ms IS NULL AND sequence >= ? AND interval_start_ms >= ?"
                " RETURNING interval_start_ms",
                (from_sequence, unended_ms),
            ).fetchall()
            self._execute_many("DELETE FROM recorded WHERE interval_start_ms = ?", rows)
        return len(rows)

    def recorded(self, start_ms: int, end_ms: int) -> set[int]:
        """The starts of all intervals in [start_ms, end_ms) that were recorded, sent long ago or not."""
        rows = self._database.execute(
            "SELECT interval_start_ms FROM recorded WHERE interval_start_ms >= ? AND interval_start_ms < ?",
            (start_ms, end_ms),
        )
        return {start for (start,) in rows}

    def state(self) -> State:
        """What is in it now."""
        waiting, oldest = self._database.execute(
            "SELECT count(*), min(interval_start_ms) FROM messages WHERE acknowledged_at_ms IS NULL"
        ).fetchone()
        (kept,) = self._database.execute(
            "SELECT count(*) FROM messages WHERE acknowledged_at_ms IS NOT NULL"
        ).fetchone()
        return State(waiting, kept, oldest)

    @property
    def next_sequence(self) -> int:
        """The number that the next minute will get."""
        (number,) = self._database.execute("SELECT next_sequence FROM counter").fetchone()
        return int(number)

    @property
    def bookmark(self) -> str:
        """The bookmark given with the latest minutes, empty when there is none."""
        (text,) = self._database.execute("SELECT bookmark FROM counter").fetchone()
        return str(text)

    def set_bookmark(self, bookmark: str) -> None:
        """Sets the bookmark without storing minutes."""
        with self._transaction():
            self._database.execute("UPDATE counter SET bookmark = ?", (bookmark,))

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _not_recorded(self, minutes: Sequence[Minute]) -> list[Minute]:
        starts = [minute.interval_start_ms for minute in minutes]
        seen = self.recorded(min(starts), max(starts) + 1) if starts else set()
        new = []
        for minute in minutes:
            if minute.interval_start_ms not in seen:
                seen.add(minute.interval_start_ms)
                new.append(minute)
        return new

    def _make_room(self, wanted: int) -> int:
        """How many of `wanted` messages fit, after what was acknowledged long ago has made room, or had to."""
        now_ms = self._now_ms()
        self._database.execute("DELETE FROM messages WHERE acknowledged_at_ms < ?", (now_ms - KEEP_SENT_MS,))
        self._database.execute("DELETE FROM recorded WHERE interval_start_ms < ?", (now_ms - REMEMBER_MINUTES_MS,))
        state = self.state()
        excess = state.waiting + state.kept + wanted - self.most_messages
        if excess > 0:
            self._database.execute(
                "DELETE FROM messages WHERE sequence IN (SELECT sequence FROM messages"
                " WHERE acknowledged_at_ms IS NOT NULL ORDER BY sequence LIMIT ?)",
                (excess,),
            )
        return max(0, min(wanted, self.most_messages - state.waiting))

    def _insert(self, minutes: Sequence[Minute]) -> range:
        first = self.next_sequence
        sequences = range(first, first + len(minutes))
        if minutes:
            self._reserve.cover(sequences[-1])
        rows = [(n, m.interval_start_ms, _message(n, m)) for n, m in zip(sequences, minutes, strict=True)]
        self._execute_many("INSERT INTO messages (sequence, interval_start_ms, message) VALUES (?, ?, ?)", rows)
        self._database.execute("UPDATE counter SET next_sequence = ?", (sequences.stop,))
        return sequences

    def _execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        return self._database.executemany(statement, rows).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.rollback()
            raise
        self._database.commit()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _message(sequence: int, minute: Minute) -> bytes:
    return codec.encode(HomeReadings(sequence, minute.interval_start_ms, minute.power_w, minute.temperature_c))
