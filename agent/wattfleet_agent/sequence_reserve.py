"""Sequence numbers that outlive their database: a small file beside it says up to where they may have been used.

Numbers are reserved 100,000 at a time, before the first of them is used, so the file is written about twice a year.
When the database is lost or damaged, counting goes on from the reserved end: above everything ever sent. When both are
lost but a damaged database shows that there was one, it goes on from the Unix time in seconds, which a count of minutes
never reaches.
"""

import os
import time
from pathlib import Path

RESERVED_AT_ONCE = 100_000


class SequenceReserve:
    """The reserve of the outbox at `outbox`."""

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_name(outbox.name + ".sequence")
        self._end = self._read() or 0

    def first_after_loss(self, damaged: bool) -> int:
        """Where a new database starts counting; `damaged` tells that there was one whose count cannot be read."""
        if self._end or not damaged:
            return max(self._end, 1)
        return int(time.time())

    def cover(self, sequence: int) -> None:
        """Makes sure that `sequence` is below the reserved end, on disk; raises OSError when it cannot be written."""
        if sequence >= self._end:
            self._write(sequence + RESERVED_AT_ONCE)

    def _read(self) -> int | None:
        try:
            return int(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _write(self, end: int) -> None:
        partial = self._path.with_name(self._path.name + ".new")
        with partial.open("w") as file:
            file.write(f"{end}\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._end = end
