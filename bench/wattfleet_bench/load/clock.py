"""The clock that all agents of a load share: real time, or a past that passes faster.

With an interval of 60 s it is the machine's clock. With a shorter one the agents live through consecutive minutes of
the past, 60/interval times as fast: readings stay aligned to minutes and none lies in the future. The clock is kept in
the load's folder, and like any clock it went on when a load that was killed is started again. A fast clock begins 30
days ago; when it reaches the present (after 12 hours at 1 s a minute) it goes on in real time.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from wattfleet_tenants.reading import INTERVAL_S

_BEGINS_AGO_S = 30 * 24 * 3600
_FILE = "clock.json"


@dataclass(frozen=True, slots=True)
class LoadClock:
    """A minute passes in `interval_s` real seconds; at the real Unix time `began_real_s` it said `began_s`."""

    interval_s: float
    began_real_s: float
    began_s: float

    @property
    def speed(self) -> float:
        """Seconds of this clock in a real second."""
        return INTERVAL_S / self.interval_s

    def now_s(self) -> float:
        """Unix time by this clock."""
        return self.at(time.time())

    def at(self, real_s: float) -> float:
        """What it says at the real Unix time `real_s`: never later than that."""
        if self.speed == 1:
            return real_s
        return min(real_s, self.began_s + (real_s - self.began_real_s) * self.speed)

    async def sleep_until(self, at_ms: int) -> None:
        """Returns when this clock says `at_ms` (Unix time, ms), or more."""
        while (left_s := at_ms / 1000 - self.now_s()) > 0:  # noqa: ASYNC110 (a timer may be early)
            await asyncio.sleep(left_s / self.speed)


def begin_or_continue(folder: Path, interval_s: float, real: Callable[[], float] = time.time) -> LoadClock:
    """The clock of the load in `folder`, begun now when there is none; raises ValueError for another interval's."""
    path = folder / _FILE
    if path.exists():
        clock = LoadClock(**json.loads(path.read_text()))
        if clock.interval_s != interval_s:
            raise ValueError(f"the load in {folder} was begun with --interval {clock.interval_s:g}, not {interval_s:g}")
        return clock
    now_s = real()
    clock = LoadClock(interval_s, now_s, now_s if interval_s == INTERVAL_S else now_s - _BEGINS_AGO_S)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(clock)))
    draft.replace(path)
    return clock
