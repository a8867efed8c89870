"""A reading is the mean power of a socket over one interval, stamped with the interval's start.

Intervals are one minute long and aligned to the minute. So an hour, or a day of 23 hours, is an exact sum of readings,
and a home cannot count twice by sending two readings for one minute. Values travel as scaled integers (deciwatts,
hundredths of a degree), so that what is stored is exactly what was measured.
"""

from dataclasses import dataclass

INTERVAL_S = 60
INTERVAL_MS = 60_000

MISSING = -(2**31)
"""The integer on the wire that says: this socket has no reading for this interval."""


@dataclass(frozen=True, slots=True)
class HomeReadings:
    """All readings of a home for one interval.

    sequence: counts up by one per interval that the agent sends; 0 for live readings, which are not stored.
    interval_start_ms: Unix time in ms. power_w[i]: mean power in W of socket i + 1, None when it was not measured.
    temperature_c[i]: °C of thermometer i + 1, None likewise.
    """

    sequence: int
    interval_start_ms: int
    power_w: tuple[float | None, ...]
    temperature_c: tuple[float | None, ...] = ()


def interval_start(at_ms: int) -> int:
    """The start, in ms, of the interval that contains the moment `at_ms`."""
    return at_ms - at_ms % INTERVAL_MS


def energy_wh(power_sum_w: float) -> float:
    """Wh of readings whose mean powers (W) add up to `power_sum_w`: each lasts one interval."""
    return power_sum_w * INTERVAL_S / 3600
