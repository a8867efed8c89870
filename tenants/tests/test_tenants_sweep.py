"""Whatever arrives whenever: each message has its turn once, within two rounds, in the store's order and its own."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import sweep
from wattfleet_tenants.writer.arrived import Arrived
from wattfleet_tenants.writer.sweep import RANKS, Sweep

ranks = st.sampled_from([0, 1, RANKS // 3, RANKS // 2, RANKS - 1]) | st.integers(0, RANKS - 1)
arrivals = st.lists(st.tuples(ranks, st.integers(1, 2)), max_size=40)


def arrived_of(messages: list[tuple[int, int]], first: int) -> Arrived:
    """messages[i]: its sender's rank, and how many sockets it has. Sequences count from `first`."""
    batches = []
    for sockets in (1, 2):
        rows = [(rank, first + i) for i, (rank, has) in enumerate(messages) if has == sockets]
        if rows:
            batch = PowerBatch(
                np.arange(len(rows)),
                np.array([b"h%d" % rank for rank, _ in rows], "S28"),
                np.array([sequence for _, sequence in rows], np.uint32),
                np.zeros(len(rows), np.uint64),
                np.ones((len(rows), sockets), np.int32),
                np.empty((len(rows), 0), np.int32),
            )
            batches.append((batch, np.array([rank for rank, _ in rows], np.int64)))
    return Arrived(Lane.BACKLOG, [], [], batches, [], 0.0, left=len(messages))


@dataclass
class Story:
    tried: Sweep = field(default_factory=Sweep)
    added: dict[int, int] = field(default_factory=dict)
    """By sequence, the round in which it was added."""
    taken: list[int] = field(default_factory=list)

    def add(self, messages: list[tuple[int, int]]) -> Arrived:
        arrived = arrived_of(messages, len(self.added))
        for _ in messages:
            self.added[len(self.added)] = self.tried.rounds
        self.tried.add(arrived)
        return arrived

    def take(self) -> None:
        round_ = self.tried.rounds
        expected = self.tried.messages_a_visit if self.tried.waits_for_a_round else None
        portion = self.tried.take()
        visited = {bytes(household) for batch in portion.batches for household in batch.households}
        assert expected in (None, sum(map(len, portion.batches)) / len(visited))
        for batch in portion.batches:
            order = [
                (int(household[1:]), sequence)
                for household, sequence in zip(batch.households, batch.sequence, strict=True)
            ]
            assert order == sorted(order), "in the order of ranks, and of a household in the order in which it came"
            self.taken += batch.sequence.tolist()
            assert len(batch)
            assert all(round_ - self.added[sequence] <= 1 for sequence in batch.sequence.tolist())
        assert sum(count for _, count in portion.messages) == sum(map(len, portion.batches))
        for arrived, count in portion.messages:
            arrived.left -= count


@pytest.fixture(autouse=True)
def _portions_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WORTH_A_ROUND", 5)
    monkeypatch.setattr(sweep, "LEAST_MESSAGES", 5)


@given(st.lists(st.one_of(arrivals, st.none()), max_size=30))
def test_every_message_has_its_turn_once_and_soon(steps: list[list[tuple[int, int]] | None]) -> None:
    story, all_arrived = Story(), []
    for step in steps:
        if step is not None:
            all_arrived.append(story.add(step))
        elif story.tried:
            story.take()
    while story.tried:
        before = len(story.tried)
        story.take()
        assert len(story.tried) < before
    assert Counter(story.taken) == Counter(story.added.keys())
    assert all(arrived.left == 0 for arrived in all_arrived)


def test_a_round_of_much_has_several_portions_and_each_holds_all_that_has_arrived_of_its_households() -> None:
    story = Story()
    households = np.random.default_rng(1).integers(0, RANKS, 1_000).tolist()
    for _ in range(3):
        story.add([(rank, 1) for rank in households])
    portions = 0
    while story.tried.rounds == 0:
        share, before = story.tried.share_done, len(story.taken)
        story.take()
        portions += 1
        visits = Counter(sequence % 1_000 for sequence in story.taken[before:])
        assert set(visits.values()) == {3}
        assert story.tried.share_done > share or story.tried.rounds
    assert 6 <= portions <= 60
    assert sorted(story.taken) == list(range(3_000))


def test_the_portions_of_a_steady_stream_are_even() -> None:
    story, random, sizes = Story(), np.random.default_rng(1), []
    for _ in range(5 * sweep.PORTIONS):
        story.add([(rank, 1) for rank in random.integers(0, RANKS, 400).tolist()])
        before = len(story.taken)
        story.take()
        sizes.append(len(story.taken) - before)
    assert story.tried.rounds == 5
    assert max(sizes[2 * sweep.PORTIONS :]) < 1.4 * min(sizes[2 * sweep.PORTIONS :])


def test_what_arrives_behind_the_sweep_waits_for_the_next_round_and_what_arrives_ahead_does_not() -> None:
    story = Story()
    story.add([(rank, 1) for rank in range(0, RANKS, RANKS // 100)])
    story.take()
    behind = [len(story.added) + i for i in range(50)]
    story.add([(0, 1)] * 50 + [(RANKS - 1, 1)])
    while story.tried.rounds == 0:
        story.take()
    assert story.taken[-1] == len(story.added) - 1
    assert not set(behind) & set(story.taken)
    story.take()
    assert set(behind) <= set(story.taken)


def test_one_household_alone_is_a_round() -> None:
    story = Story()
    story.add([(7, 1)] * 100)
    for _ in itertools.takewhile(lambda _: story.tried, range(100)):
        story.take()
    assert sorted(story.taken) == list(range(100))
    assert story.tried.rounds <= 2
