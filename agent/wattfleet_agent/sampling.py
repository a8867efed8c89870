"""From samples to minutes: the mean of a socket's samples, aligned to the UTC minute, stamped with its start.

A socket has a reading for a minute when it answered at least 30 of its 60 seconds; a minute without any such socket is
missing. The sampling beat comes from the monotonic clock, so that setting the clock neither stops nor hurries it, and
a minute is handed out only when the clock has passed its end. When the clock goes back, the samples of the open minute
are dropped: their stamps were wrong.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from wattfleet_tenants.reading import interval_start

from wattfleet_agent import metrics
from wattfleet_agent.sensors import Minute, Sample, Sensor, checked

logger = logging.getLogger(__name__)

SAMPLE_EVERY_S = 1.0
LEAST_SAMPLES = 30
"""Half of the minute: a mean over less says too little about the minute to be called its mean."""


class MinuteMeans:
    """Collects samples of one minute after the other."""

    def __init__(self, least_samples: int = LEAST_SAMPLES) -> None:
        self._least_samples = least_samples
        self._start_ms: int | None = None
        self._samples: list[Sample] = []

    def add(self, at_ms: int, sample: Sample) -> Minute | None:
        """Takes the sample of the moment `at_ms`; returns the minute that it ends, if enough of that was measured."""
        start_ms = interval_start(at_ms)
        ended = None
        if self._start_ms is not None and start_ms > self._start_ms:
            ended = self._means(self._start_ms)
        if start_ms != self._start_ms:
            self._start_ms, self._samples = start_ms, []
        self._samples.append(sample)
        return ended

    def _means(self, start_ms: int) -> Minute | None:
        minute = Minute(
            start_ms,
            self._columns([sample.power_w for sample in self._samples]),
            self._columns([sample.temperature_c for sample in self._samples]),
        )
        return None if minute.empty else minute

    def _columns(self, rows: list[tuple[float | None, ...]]) -> tuple[float | None, ...]:
        width = max(map(len, rows))
        columns = ([row[i] for row in rows if i < len(row)] for i in range(width))
        return tuple(self._mean([value for value in column if value is not None]) for column in columns)

    def _mean(self, values: list[float]) -> float | None:
        return sum(values) / len(values) if len(values) >= self._least_samples else None


class Sampler:
    """Reads the sensor every second and hands out samples and finished minutes.

    on_sample(at_ms, sample) and on_minute(minute) are called in the event loop. on_clock_set_back(at_ms) tells that the
    clock now says `at_ms` although it was later before. least_samples: of a minute, for it to have a mean.
    """

    def __init__(
        self,
        sensor: Sensor,
        on_sample: Callable[[int, Sample], None],
        on_minute: Callable[[Minute], None],
        on_clock_set_back: Callable[[int], None],
        clock: Callable[[], float] = time.time,
        least_samples: int = LEAST_SAMPLES,
    ) -> None:
        self._sensor = sensor
        self._on_sample = on_sample
        self._on_minute = on_minute
        self._on_clock_set_back = on_clock_set_back
        self._clock = clock
        self._means = MinuteMeans(least_samples)
        self._last_ms = 0

    def sample(self) -> None:
        """One beat."""
        at_ms = int(self._clock() * 1000)
        try:
            sample = checked(self._sensor.read())
        except Exception:
            # Whatever a driver raises, the other seconds must still be measured.
            metrics.SENSOR_FAILURES.inc()
            logger.exception("sensor failed")
            return
        if interval_start(at_ms) < interval_start(self._last_ms):
            logger.warning("clock set back", extra={"by_ms": self._last_ms - at_ms})
            self._on_clock_set_back(at_ms)
        self._last_ms = at_ms
        ended = self._means.add(at_ms, sample)
        self._on_sample(at_ms, sample)
        if ended:
            self._on_minute(ended)

    async def run(self) -> None:
        """Samples in the middle of each second, until cancelled. A beat that is missed is not made up for."""
        await asyncio.sleep((1.5 - self._clock() % 1) % 1)
        next_s = time.monotonic()
        while True:
            self.sample()
            next_s += SAMPLE_EVERY_S
            late_s = time.monotonic() - next_s
            if late_s > 0:
                next_s += -(-late_s // SAMPLE_EVERY_S) * SAMPLE_EVERY_S
            await asyncio.sleep(next_s - time.monotonic())
