"""Placement: numbers in, a shard out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.placement import ShardRoom, place
from wattfleet_tenants.shard import ShardId

rooms = st.lists(
    st.builds(
        ShardRoom,
        st.from_regex(r"s[0-9]{1,3}", fullmatch=True).map(ShardId),
        st.sampled_from(["north", "south"]),
        st.integers(1, 30_000),
        st.integers(0, 40_000),
        st.booleans(),
    ),
    unique_by=lambda room: room.shard,
)


def room(name: str, households: int, capacity: int = 10, region: str = "north", accepts_new: bool = True) -> ShardRoom:
    return ShardRoom(ShardId(name), region, capacity, households, accepts_new)


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ([], None),
        ([room("s1", 10)], None),
        ([room("s1", 0, region="south")], None),
        ([room("s1", 0, accepts_new=False)], None),
        ([room("s1", 5), room("s2", 4)], "s2"),
        ([room("s1", 5, capacity=100), room("s2", 1)], "s1"),
        ([room("s2", 1), room("s1", 1)], "s1"),
    ],
)
def test_the_emptiest_fitting_shard_wins(shards: list[ShardRoom], expected: str | None) -> None:
    assert place("north", shards) == expected


@given(rooms)
def test_a_chosen_shard_always_has_room_in_the_region_whatever_the_order(shards: list[ShardRoom]) -> None:
    chosen = place("north", shards)
    assert chosen == place("north", reversed(shards))
    if chosen is None:
        assert not any(s.region == "north" and s.accepts_new and s.households < s.capacity for s in shards)
    else:
        (winner,) = [s for s in shards if s.shard == chosen]
        assert winner.region == "north"
        assert winner.accepts_new
        assert winner.households < winner.capacity
