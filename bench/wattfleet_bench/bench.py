"""What every rung is given: how much to do, a folder for its data, and a way to say how far it is."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_QUICK_SHARE = 0.1


@dataclass(slots=True)
class Progress:
    """Tells on the terminal which rung and which repeat runs, and about how long it still takes.

    expected_s: how long each rung takes at most likely, in the order in which they run.
    """

    expected_s: dict[str, float]
    _rung: str = ""
    _began_s: float = 0.0
    _done: list[str] = field(default_factory=list)

    def rung(self, name: str) -> None:
        """The rung `name` begins."""
        if self._rung:
            self._done.append(self._rung)
        self._rung, self._began_s = name, time.monotonic()

    def step(self, text: str) -> None:
        """What happens now within the rung."""
        number = len(self._done) + 1
        print(
            f"  · [{number}/{len(self.expected_s)}] {self._rung}: {text} ({self._left()})", file=sys.stderr, flush=True
        )

    def _left(self) -> str:
        later_s = sum(length_s for name, length_s in self.expected_s.items() if name not in (*self._done, self._rung))
        this_s = max(0.0, self.expected_s.get(self._rung, 0.0) - (time.monotonic() - self._began_s))
        left_s = later_s + this_s
        return f"about {left_s / 60:.0f} min left" if left_s > 90 else f"about {left_s:.0f} s left"


@dataclass(frozen=True, slots=True)
class Bench:
    """repeats: of each measurement, after a warm-up. quick: a tenth of the messages, for a look and for tests."""

    progress: Progress
    repeats: int = 3
    quick: bool = False

    def amount(self, full: int, least: int = 1) -> int:
        """How many of something to do."""
        return max(least, round(full * _QUICK_SHARE)) if self.quick else full

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for one rung's data, gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="wattfleet-bench-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
