"""Shows how far a long job is: a bar for a person at a terminal, a log line every five seconds for everybody else."""

import logging
import sys
import time

from tqdm import tqdm

from wattfleet_agent import metrics

logger = logging.getLogger(__name__)

_LINE_EVERY_S = 5.0


class Progress:
    """`job` with `total` minutes; also told as metrics."""

    def __init__(self, job: str, total: int) -> None:
        self._job = job
        self._total = total
        self._told_at_s = 0.0
        self._begun_at_s = time.monotonic()
        self._bar = tqdm(total=total, desc=job, unit=" min", disable=not sys.stdout.isatty())
        metrics.CATCH_UP_TOTAL.set(total)
        metrics.CATCH_UP_REMAINING.set(total)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    def show(self, done: int) -> None:
        """`done` of the total are acknowledged."""
        done = max(0, min(done, self._total))
        metrics.CATCH_UP_REMAINING.set(self._total - done)
        self._bar.update(done - self._bar.n)
        finished = done == self._total
        if self._bar.disable and (finished or time.monotonic() - self._told_at_s > _LINE_EVERY_S):
            self._told_at_s = time.monotonic()
            logger.info(self._job, extra={"percent": self.percent(done), "minutes": done, "of": self._total})

    def percent(self, done: int) -> int:
        """Whole percent, 100 only when all is done."""
        return 100 if done >= self._total else int(100 * done / self._total)

    @property
    def elapsed_s(self) -> float:
        """Since the job began."""
        return time.monotonic() - self._begun_at_s
