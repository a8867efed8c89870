"""What a reading must be to be believed: the store's own server is the authority, not the home.

The checks also keep what the store would drop in silence (samples older than its retention or too far ahead) from ever
reaching it. One bad value refuses its whole message, for then the meter or its clock cannot be trusted; the other
messages of the batch are stored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.reading import INTERVAL_MS, MISSING
from wattfleet_tenants.wire.batch import PowerBatch

FUTURE_MS = 5 * 60_000
"""A clock may be this far ahead. The store itself drops what is two days ahead, and dashboards what is ahead at all."""

MIN_TEMPERATURE_C, MAX_TEMPERATURE_C = -90.0, 250.0
"""The coldest place on earth, and a solar collector standing still in the sun."""

EARLIEST_MS = 2_678_400_000
"""1 February 1970: VictoriaMetrics takes a time below 2^31 in the text format for seconds (a test found it)."""

_DAY_MS = 24 * 3600 * 1000

REASONS = (
    "no-sequence",
    "empty",
    "unaligned",
    "future",
    "too-old",
    "implausible-power",
    "implausible-temperature",
)
FOREIGN = "foreign"
"""The sender is no household of this shard; found before a message's content is looked at."""
OVER_QUOTA = "over-quota"
"""More sockets or thermometers than the household's quota allows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """max_power_w: no socket draws or feeds in more. retention_days: how long the store keeps a reading."""

    max_power_w: int = 25_000
    retention_days: int = 36_500

    def oldest_ms(self, now_ms: int) -> int:
        """The oldest interval start that is stored: a day short of the retention, so that a delay loses nothing.

        Never before EARLIEST_MS.
        """
        return max(EARLIEST_MS, now_ms - (self.retention_days - 1) * _DAY_MS)


def first_objections(batch: PowerBatch, limits: Limits, now_ms: int) -> NDArray[np.intp]:
    """Per message, the index in REASONS of the first thing wrong with it, or -1. now_ms: Unix time."""
    starts = batch.interval_start_ms
    values = batch.power_dw.shape[1] + batch.temperature_cc.shape[1]
    most_dw = limits.max_power_w * 10
    nothing = np.zeros(len(batch), np.bool_)
    found = (
        batch.sequence == 0,
        np.full(len(batch), values == 0),
        starts % np.uint64(INTERVAL_MS) != 0,
        starts > np.uint64(now_ms + FUTURE_MS),
        starts < np.uint64(limits.oldest_ms(now_ms)),
        nothing if batch.powers_within(-most_dw, most_dw) else _outside(batch.power_dw, -most_dw, most_dw),
        _outside(batch.temperature_cc, round(MIN_TEMPERATURE_C * 100), round(MAX_TEMPERATURE_C * 100)),
    )
    objections = np.full(len(batch), -1)
    for index in reversed(range(len(found))):
        if found[index].any():
            objections[found[index]] = index
    return objections


def _outside(values: NDArray[np.int32], lowest: int, highest: int) -> NDArray[np.bool_]:
    """Which rows hold a value outside of lowest..highest that is not MISSING."""
    if not values.size or (values.min() >= lowest and values.max() <= highest):
        return np.zeros(len(values), np.bool_)
    outside = (values > highest) | ((values < lowest) & (values != MISSING))
    rows: NDArray[np.bool_] = outside.any(axis=1)
    return rows
