"""What becomes of measured and computed minutes on their way into the outbox."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from agent_helpers import A_MINUTE_MS, minute
from prometheus_client import REGISTRY
from wattfleet_agent.catch_up import CatchUp
from wattfleet_agent.history import History
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.recorder import Recorder
from wattfleet_agent.sensors import Minute
from wattfleet_agent.simulated.home import SimulatedHome
from wattfleet_agent.watch import Watch
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.waiting import eventually

DAY = 1440
FAR_MS = 2**53


def not_recorded(reason: str) -> float:
    return REGISTRY.get_sample_value("wattfleet_agent_not_recorded_total", {"reason": reason}) or 0.0


def acknowledging(outbox: Outbox) -> None:
    """A platform that takes everything at once."""
    outbox.acknowledge([waiting.sequence for waiting in outbox.waiting(None, FAR_MS, 100_000)])


@pytest.fixture
def outbox(tmp_path: Path, household: HouseholdId) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "o.db", household, most_messages=3)
    yield outbox
    outbox.close()


def test_a_minute_without_room_is_counted_and_what_is_older_stays(outbox: Outbox, household: HouseholdId) -> None:
    looks: list[int] = []
    recorder = Recorder(outbox, household, lambda: looks.append(1))
    before = not_recorded("full")
    for index in range(5):
        recorder.record(minute(index))
    assert not_recorded("full") == before + 2
    assert [w.interval_start_ms for w in outbox.waiting(None, FAR_MS, 10)] == [
        minute(index).interval_start_ms for index in range(3)
    ]
    assert len(looks) == 3


def test_a_minute_that_was_recorded_is_not_recorded_again(outbox: Outbox, household: HouseholdId) -> None:
    recorder, before = Recorder(outbox, household, lambda: None), not_recorded("repeated")
    recorder.record(minute(0, 1.0))
    recorder.record(minute(0, 2.0))
    assert not_recorded("repeated") == before + 1
    assert outbox.state().waiting == 1


def test_a_full_disk_costs_the_minute_and_not_the_agent(outbox: Outbox, household: HouseholdId) -> None:
    recorder, before = Recorder(outbox, household, lambda: None), not_recorded("disk")
    outbox._database.execute("PRAGMA query_only = ON")
    recorder.record(minute(0))
    assert not_recorded("disk") == before + 1
    outbox._database.execute("PRAGMA query_only = OFF")
    recorder.record(minute(1))
    assert outbox.state().waiting == 1


def test_only_minutes_of_this_run_are_withdrawn_when_the_clock_goes_back(
    outbox: Outbox, household: HouseholdId
) -> None:
    outbox.append([minute(90)])
    recorder = Recorder(outbox, household, lambda: None)
    recorder.record(minute(91))
    recorder.clock_set_back(minute(5).interval_start_ms)
    assert [w.interval_start_ms for w in outbox.waiting(None, FAR_MS, 10)] == [minute(90).interval_start_ms]


def test_readiness_says_when_the_outbox_is_full_or_the_sensor_silent(outbox: Outbox) -> None:
    health = Health("outbox", "sensor")
    watch = Watch(outbox, health)
    watch.look()
    assert health.troubles == {"sensor": "no sample for 10 s"}
    watch.sampled()
    outbox.append([minute(index) for index in range(3)])
    watch.look()
    assert health.troubles == {"outbox": "full"}
    assert REGISTRY.get_sample_value("wattfleet_agent_outbox_waiting") == 3


async def test_history_leaves_out_what_is_there_and_fills_the_opening_minute(
    tmp_path: Path, household: HouseholdId
) -> None:
    now_s = A_MINUTE_MS / 1000 + 40
    outbox, home = Outbox(tmp_path / "o.db", household), SimulatedHome("flat")
    measured = [minute(-index, 1.0) for index in (3, 700, DAY)]
    outbox.append(measured)
    # The clock of the second look says that the opening minute is over.
    clock = chain([now_s], repeat(now_s + 60)).__next__
    await History(home, outbox, lambda: acknowledging(outbox), clock).fill(1)
    starts = range(A_MINUTE_MS - (DAY + 1) * INTERVAL_MS, A_MINUTE_MS + INTERVAL_MS, INTERVAL_MS)
    assert outbox.recorded(0, FAR_MS) == set(starts)
    assert outbox.next_sequence == DAY + 3
    acknowledging(outbox)
    # Started once more within the next minute: nothing is missing but that minute.
    clock = chain([now_s + 60], repeat(now_s + 120)).__next__
    await History(home, outbox, lambda: acknowledging(outbox), clock).fill(1)
    assert outbox.next_sequence == DAY + 4


async def test_a_long_row_of_minutes_never_fills_the_outbox(tmp_path: Path, household: HouseholdId) -> None:
    outbox, total = Outbox(tmp_path / "o.db", household), 25_000

    def store(group: list[Minute]) -> None:
        outbox.append(group)

    with CatchUp("test", outbox, total, FAR_MS, lambda: None) as catch_up:
        minutes = (minute(index) for index in range(total))
        feeding = asyncio.create_task(catch_up.feed(minutes, store))
        for put in (11_000, 22_000, total):
            await eventually(lambda put=put: outbox.next_sequence == put + 1, 20, f"{put} are put in")
            assert not feeding.done()
            assert outbox.state().waiting <= 11_000
            acknowledging(outbox)
        await asyncio.wait_for(feeding, 5)
    assert REGISTRY.get_sample_value("wattfleet_agent_catch_up_remaining") == 0
