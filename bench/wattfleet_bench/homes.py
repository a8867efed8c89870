"""The homes of a benchmark: who they are and what each socket measured in each minute, all by reckoning.

A reading is a pure function of home, socket and minute, so whoever verifies works out what was sent instead of having
to remember it. A socket stays at one level for half an hour (up to 2,000 W) and flickers by up to 3.1 W around it from
minute to minute: a store has about as much to write as with real meters.

Time runs faster than on the wall: minute 0 is the first minute of a day in the past (UTC), and a run sends one minute
of all homes after the other as fast as it may. A run stays within that day, since a store files every series anew
under each day, which in real time it does once in 1,440 minutes.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS

SOCKETS = 30
MINUTES_PER_DAY = 1_440

_ALPHABET = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", np.uint8)
_RANDOM_CHARACTERS = 20
_DAY_MS = MINUTES_PER_DAY * INTERVAL_MS
_LEVEL_MINUTES = 30
_LEVELS_DW = np.uint32(20_000)
_FLICKER_BITS = np.uint32(27)  # leaves the upper 5 bits: 0..31 dW


def day_in_the_past_ms(days: int = 2) -> int:
    """The start of a day (UTC, Unix time in ms) that is over everywhere."""
    return (int(time.time() * 1000) // _DAY_MS - days) * _DAY_MS


@dataclass(frozen=True, slots=True)
class Homes:
    """`count` homes, the same for the same `seed`. day_ms: when minute 0 began (Unix time, ms)."""

    count: int
    day_ms: int
    seed: int = 1

    def ids(self) -> NDArray[np.bytes_]:
        """Their household ids, 21 characters each."""
        drawn = np.random.default_rng(self.seed).integers(0, len(_ALPHABET), (self.count, _RANDOM_CHARACTERS))
        letters = np.concatenate([np.full((self.count, 1), ord("h"), np.uint8), _ALPHABET[drawn]], axis=1)
        ids: NDArray[np.bytes_] = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").reshape(-1)
        return ids

    def households(self) -> list[HouseholdId]:
        """The same as text."""
        return [HouseholdId(one.decode()) for one in self.ids()]

    def interval_start_ms(self, minute: int) -> int:
        """When `minute` began (Unix time, ms)."""
        return self.day_ms + minute * INTERVAL_MS


def power_dw(homes: NDArray[np.uint32], minute: int) -> NDArray[np.int32]:
    """What the sockets of the homes with these numbers drew in `minute`: deciwatts, one row per home."""
    sockets = np.arange(1, SOCKETS + 1, dtype=np.uint32)
    who = (homes[:, None] * np.uint32(SOCKETS) + sockets) * np.uint32(2_654_435_761)
    level = _mixed(who + np.uint32((minute // _LEVEL_MINUTES * 40_503) & 0xFFFFFFFF)) % _LEVELS_DW
    flicker = _mixed(who ^ np.uint32((minute * 2_246_822_519) & 0xFFFFFFFF)) >> _FLICKER_BITS
    return (level + flicker).astype("<i4")


def _mixed(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Numbers that look random, from numbers that differ a little."""
    value = value ^ (value >> np.uint32(15))
    value *= np.uint32(2_246_822_519)
    value ^= value >> np.uint32(13)
    return value * np.uint32(3_266_489_917)
