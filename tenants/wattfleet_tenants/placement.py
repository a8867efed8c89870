"""Which shard a new household goes to. Decided once, then recorded in the household's status.

A shard can take a household when it is of the wished region, accepts new ones and has room. Among those the emptiest
(by share of its capacity) wins, so that load evens out; equal ones are taken in the order of their ids, so that the
decision can be repeated.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wattfleet_tenants.shard import ShardId


@dataclass(frozen=True, slots=True)
class ShardRoom:
    """What placement needs to know about a shard. households: how many are placed on it now."""

    shard: ShardId
    region: str
    capacity: int
    households: int
    accepts_new: bool


def place(region: str, shards: Iterable[ShardRoom]) -> ShardId | None:
    """The shard for a new household of `region`, or None when none has room."""
    fitting = [s for s in shards if s.region == region and s.accepts_new and s.households < s.capacity]
    if not fitting:
        return None
    return min(fitting, key=lambda s: (s.households / s.capacity, s.shard)).shard
