"""What the agent asks of whatever measures: one sample of all sockets, now.

A socket that does not answer is None, never zero and never its last value. `read` returns quickly (some 50 ms): an
instrument that needs longer keeps measuring by itself and hands out what it has measured last, with its own idea of
when that is too old.
"""

import math
from dataclasses import dataclass
from typing import Protocol

_LARGEST = 1e7
"""No socket carries 10 MW, and the wire carries no more than 20 times that."""


@dataclass(frozen=True, slots=True)
class Sample:
    """power_w[i]: W of socket i + 1 at this moment, None when it does not answer; temperature_c[i]: °C likewise."""

    power_w: tuple[float | None, ...]
    temperature_c: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """Means over the minute that began at `interval_start_ms` (Unix ms, aligned), before it has a sequence number."""

    interval_start_ms: int
    power_w: tuple[float | None, ...]
    temperature_c: tuple[float | None, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing at all was measured."""
        return all(value is None for value in (*self.power_w, *self.temperature_c))


class Sensor(Protocol):
    """Measures all sockets of a home."""

    def read(self) -> Sample:
        """All sockets, now. An exception counts as a second without a sample."""
        ...


def checked(sample: Sample) -> Sample:
    """`sample` without values that no instrument means: not a number, infinite, or beyond the wire."""
    return Sample(tuple(map(_checked, sample.power_w)), tuple(map(_checked, sample.temperature_c)))


def _checked(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) < _LARGEST else None
