"""Which shard a new household goes to, and when in the minute it sends. Decided once, then recorded.

A shard can take a household when it is of the wished region, accepts new ones and has room. Among those the emptiest
(by share of its capacity) wins, so that load evens out; equal ones are taken in the order of their ids, so that the
decision can be repeated.

All minutes end at the same moment, for all homes. So each home of a shard sends at a phase of its own after that: the
minute has 600 places of 100 ms, and a new household gets the emptiest one of the emptiest second. From 600 homes on,
the busiest second then has at most 1.1 times as many as the mean one; left to chance, it has 1.6 times as many of 1,000
homes and 1.2 times of 10,000. Homes that go leave holes where they were, which those that come next fill.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wattfleet_tenants.reading import INTERVAL_S
from wattfleet_tenants.shard import ShardId

PHASE_MS = 100
"""How far apart two places in the minute are."""

_SECOND_MS = 1000
# The golden section of 60 and of 10: of equally empty places the next one is far from those that were given before.
_SECONDS = tuple(37 * turn % INTERVAL_S for turn in range(INTERVAL_S))
_PLACES = tuple(7 * turn % 10 * PHASE_MS for turn in range(_SECOND_MS // PHASE_MS))


@dataclass(frozen=True, slots=True)
class ShardRoom:
    """What placement needs to know about a shard. households: how many are placed on it now."""

    shard: ShardId
    region: str
    capacity: int
    households: int
    accepts_new: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a household is carried, and how many ms after a minute's end it sends it."""

    shard: ShardId
    send_phase_ms: int


def choose_shard(region: str, shards: Iterable[ShardRoom]) -> ShardId | None:
    """The shard for a new household of `region`, or None when none has room."""
    fitting = [s for s in shards if s.region == region and s.accepts_new and s.households < s.capacity]
    if not fitting:
        return None
    return min(fitting, key=lambda s: (s.households / s.capacity, s.shard)).shard


def send_phase(taken: Mapping[int | None, int]) -> int:
    """How many ms after a minute's end a new household sends it: 0 to 59,900, a multiple of PHASE_MS.

    taken: how many households of its shard send at each phase; those under None were given none.
    """
    in_second = [0] * INTERVAL_S
    for phase_ms, households in taken.items():
        if phase_ms is not None:
            in_second[phase_ms // _SECOND_MS] += households
    second_ms = min(_SECONDS, key=in_second.__getitem__) * _SECOND_MS
    return second_ms + min(_PLACES, key=lambda place_ms: taken.get(second_ms + place_ms, 0))
