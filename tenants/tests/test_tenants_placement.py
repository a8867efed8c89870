"""Placement: numbers in, a shard and a place in the minute out."""

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.placement import PHASE_MS, ShardRoom, choose_shard, send_phase
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.shard import ShardId

HOMES = 10_000
ENOUGH_HOMES = 600

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
    assert choose_shard("north", shards) == expected


@given(rooms)
def test_a_chosen_shard_always_has_room_in_the_region_whatever_the_order(shards: list[ShardRoom]) -> None:
    chosen = choose_shard("north", shards)
    assert chosen == choose_shard("north", reversed(shards))
    if chosen is None:
        assert not any(s.region == "north" and s.accepts_new and s.households < s.capacity for s in shards)
    else:
        (winner,) = [s for s in shards if s.shard == chosen]
        assert winner.region == "north"
        assert winner.accepts_new
        assert winner.households < winner.capacity


def peak_to_mean(phases_ms: Iterable[int]) -> float:
    """Of the homes that send in each whole second."""
    in_second = Counter(phase_ms // 1000 for phase_ms in phases_ms)
    return max(in_second.values()) / (in_second.total() / 60)


def born(phases_ms: list[int], homes: int) -> list[int]:
    """The phases after `homes` births."""
    taken: Counter[int | None] = Counter(phases_ms)
    for _ in range(homes):
        taken[send_phase(taken)] += 1
    return [phase_ms for phase_ms in taken.elements() if phase_ms is not None]


def test_after_any_number_of_births_every_second_has_the_same_share() -> None:
    taken: Counter[int | None] = Counter()
    in_second = [0] * 60
    for homes in range(1, HOMES + 1):
        phase_ms = send_phase(taken)
        taken[phase_ms] += 1
        in_second[phase_ms // 1000] += 1
        assert max(in_second) - min(in_second) <= 1
        assert homes < ENOUGH_HOMES or max(in_second) / (homes / 60) <= 1.1
    assert len(taken) == INTERVAL_MS // PHASE_MS
    assert max(taken.values()) - min(taken.values()) <= 1, "the places of 100 ms are as even as the seconds"


def test_homes_that_come_fill_what_those_that_go_leave() -> None:
    chance = random.Random(7)
    phases_ms = born([], HOMES)
    for share_that_goes in (0.01, 0.1, 0.5):
        left = chance.sample(phases_ms, round(HOMES * (1 - share_that_goes)))
        phases_ms = born(left, HOMES - len(left))
        assert peak_to_mean(phases_ms) <= 1.1
    for _ in range(30):
        phases_ms = born(chance.sample(phases_ms, HOMES - 100), 100)
    assert peak_to_mean(phases_ms) <= 1.1


def test_the_first_homes_of_a_shard_are_far_apart() -> None:
    for homes in range(2, 13):
        phases_ms = sorted(born([], homes))
        apart_ms = [
            later - earlier
            for earlier, later in zip(phases_ms, [*phases_ms[1:], phases_ms[0] + INTERVAL_MS], strict=True)
        ]
        assert min(apart_ms) >= INTERVAL_MS / homes / 2.7


@given(st.dictionaries(st.one_of(st.none(), st.integers(0, INTERVAL_MS - 1)), st.integers(0, 50)))
def test_a_phase_is_a_place_in_the_minute_whatever_others_have_and_always_the_same(
    taken: dict[int | None, int],
) -> None:
    phase_ms = send_phase(taken)
    assert phase_ms in range(0, INTERVAL_MS, PHASE_MS)
    assert phase_ms == send_phase(dict(reversed(taken.items())))
    in_second = Counter[int]()
    for other_ms, homes in taken.items():
        if other_ms is not None:
            in_second[other_ms // 1000] += homes
    assert in_second[phase_ms // 1000] == min(in_second[second] for second in range(60))
