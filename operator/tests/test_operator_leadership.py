"""Of several operators one acts; simulated on clocks of our own, with any order of looks, pauses and lost answers."""

import asyncio
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st
from wattfleet_operator.leadership import DURATION_S, RENEW_WITHIN_S, Leadership, Lease, LeaseTaken
from wattfleet_tenants.testing.waiting import eventually


@dataclass
class FakeLeases:
    """A lease that its API server guards by version. away: nobody answers. deaf: what is written is not confirmed."""

    lease: Lease | None = None
    version: int = 0
    away: bool = False
    deaf: bool = False

    async def read(self) -> Lease | None:
        if self.away:
            raise ConnectionError("nobody answers")
        return self.lease

    async def write(self, lease: Lease) -> Lease:
        if self.away:
            raise ConnectionError("nobody answers")
        if lease.version != (self.lease.version if self.lease else ""):
            raise LeaseTaken
        self.version += 1
        self.lease = replace(lease, version=str(self.version))
        if self.deaf:
            raise ConnectionError("the answer was lost")
        return self.lease


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Candidate:
    """One operator. Its own leases can be cut off from those of the others; its clock stands still while it hangs."""

    name: str
    leases: FakeLeases
    clock: Clock
    ended: bool = False
    part: Leadership = field(init=False)

    def __post_init__(self) -> None:
        self.part = Leadership(self.leases, self.name, self._end, self.clock, look_every_s=0)

    def _end(self) -> None:
        self.ended = True

    def look(self) -> bool:
        return asyncio.run(self.part._attempt())


def candidates(*names: str) -> tuple[FakeLeases, Clock, list[Candidate]]:
    leases, clock = FakeLeases(), Clock()
    return leases, clock, [Candidate(name, leases, clock) for name in names]


def test_the_first_leads_and_the_second_waits_for_as_long_as_it_renews() -> None:
    _, clock, (first, second) = candidates("first", "second")
    assert first.look()
    for _ in range(100):
        assert not second.look()
        clock.now_s += RENEW_WITHIN_S / 2
        assert first.look()
    assert first.part.leads
    assert not second.part.leads


def test_a_killed_leader_is_followed_within_its_lease_and_one_look() -> None:
    leases, clock, (first, second) = candidates("first", "second")
    assert first.look()
    assert not second.look()
    clock.now_s += DURATION_S
    assert not second.look(), "it may still be renewed"
    clock.now_s += 2
    assert second.look()
    assert leases.lease is not None
    assert (leases.lease.holder, leases.lease.transitions) == ("second", 1)


def test_a_leader_that_hears_nothing_stops_to_lead_before_another_may() -> None:
    leases, clock, (first, second) = candidates("first", "second")
    assert first.look()
    assert not second.look()
    leases.away = True
    clock.now_s += RENEW_WITHIN_S
    assert not first.look()
    assert not first.part.leads
    leases.away = False
    assert not second.look()


def test_a_lease_given_back_is_taken_at_once() -> None:
    _, _, (first, second) = candidates("first", "second")
    assert first.look()
    asyncio.run(first.part.release())
    assert not first.part.leads
    assert second.look()
    assert second.part.leads


def test_of_two_that_see_a_dead_lease_one_gets_it() -> None:
    leases, clock, (first, second, third) = candidates("first", "second", "third")
    assert first.look()
    assert not second.look()
    assert not third.look()
    clock.now_s += DURATION_S + 1
    seen = leases.lease
    assert second.look()
    leases_of_third = FakeLeases(seen, leases.version)

    async def stale() -> Lease | None:
        return seen

    leases_of_third.read = stale  # type: ignore[method-assign]
    leases_of_third.write = leases.write  # type: ignore[method-assign]
    third.part._leases = leases_of_third
    assert not third.look()


async def test_an_old_leader_s_process_is_ended_although_its_loop_hangs() -> None:
    leases, clock, (first,) = candidates("first")
    await first.part.acquire()
    leases.away = True
    clock.now_s += RENEW_WITHIN_S + 1
    await eventually(lambda: first.ended, 5, "the guard ends the process")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.floats(0, 12),
            st.sampled_from(["answers", "answers", "answers", "away", "deaf"]),
        ),
        max_size=60,
    )
)
def test_no_two_ever_lead_whatever_is_lost_or_late(steps: list[tuple[str, float, str]]) -> None:
    leases, clock, all_ = candidates("a", "b", "c")
    by_name = {candidate.name: candidate for candidate in all_}
    for name, pause_s, how in steps:
        clock.now_s += pause_s
        leases.away, leases.deaf = how == "away", how == "deaf"
        by_name[name].look()
        assert sum(candidate.part.leads for candidate in all_) <= 1


async def test_acquire_returns_when_the_lease_is_there() -> None:
    _, clock, (first, second) = candidates("first", "second")
    await first.part.acquire()
    waiting = asyncio.create_task(second.part.acquire())
    await eventually(lambda: second.part._seen is not None, 5, "the second has looked")
    assert not waiting.done()
    clock.now_s += DURATION_S + 1
    await asyncio.wait_for(waiting, 5)
    assert second.part.leads
    await second.part.release()
