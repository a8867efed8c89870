"""Small things that tests make often."""

from collections.abc import Sequence

from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.wire import codec
from wattfleet_tenants.wire.bundle import Bundle, household_column

A_MINUTE_MS = 1_790_000_040_000
"""An aligned minute of September 2026."""


def readings(
    sequence: int = 1, at_ms: int = A_MINUTE_MS, power_w: tuple[float | None, ...] = (12.3, 4.5)
) -> HomeReadings:
    """A home's readings for one minute."""
    return HomeReadings(sequence, at_ms, power_w)


def message(sequence: int = 1, at_ms: int = A_MINUTE_MS, power_w: tuple[float | None, ...] = (12.3, 4.5)) -> bytes:
    """The same as it travels."""
    return codec.encode(readings(sequence, at_ms, power_w))


def minutes(count: int, first_ms: int = A_MINUTE_MS) -> list[bytes]:
    """`count` consecutive messages with different values, sequences from 1."""
    return [
        message(i + 1, first_ms + i * INTERVAL_MS, ((i % 1000) / 10, float(i % 77), None if i % 5 == 0 else 7.0))
        for i in range(count)
    ]


def bundle_of(
    households: Sequence[bytes], messages: Sequence[bytes], run: str = "run", number: int = 1, messages_before: int = 0
) -> Bundle:
    """messages[i] of households[i], as an ingest packs them."""
    return Bundle.of(run, number, messages_before, map(household_column, households), messages)
