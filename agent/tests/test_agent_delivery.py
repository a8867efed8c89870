"""From the outbox to the streams of a real server, with everything in between dying at random."""

import asyncio
import dataclasses
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from agent_helpers import KEYS, agent, home_file, lanes, minute, recording, take
from wattfleet_agent.link import Link
from wattfleet_agent.live import Commands, Live
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.publisher import Publisher
from wattfleet_agent.wiring import serving
from wattfleet_tenants import subjects
from wattfleet_tenants.home_file import HomeFile, read_home_file, write_home_file
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ingest.homes import MOST_UNSETTLED
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.data_plane import IngestProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually

Outcome = dict[int, tuple[int, tuple[float | None, ...]]]


def by_sequence(messages: list[HomeReadings]) -> Outcome:
    """What came under each sequence number; fails when one number stands for two readings."""
    came: Outcome = {}
    for message in messages:
        what = (message.interval_start_ms, message.power_w)
        assert came.setdefault(message.sequence, what) == what
    return came


@asynccontextmanager
async def publishing(home: Path, outbox: Outbox, publisher: Publisher) -> AsyncIterator[Health]:
    """A link with `publisher` on it, in this process."""
    health = Health("broker")
    task = asyncio.create_task(Link(home, serving(Live(Commands()), publisher), publisher.refuse_all, health).run())
    try:
        yield health
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_minute_of_a_recording_arrives_though_the_agent_is_killed_again_and_again(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home, rows = home_file(broker, household, tmp_path), 12_000
    command = ["replay", recording(tmp_path / "house.csv", rows), "--home", home, "--time-zone", "UTC"]
    outbox = tmp_path / "home.replay.db"
    random.seed(household)
    kills, code, begun = 0, None, False
    # A complete replay removes its outbox; one that is killed after that has no more to do.
    while code is None and (outbox.exists() or not begun):
        async with agent(tmp_path, *command) as running:
            try:
                # A whole replay takes some seconds, most of it after the first 0.7.
                code = await running.ends(random.uniform(0.6, 1.5) if kills < 5 else 60)
            except TimeoutError:
                begun = begun or outbox.exists()
                running.process.kill()
                kills += 1
    assert kills
    assert code in (0, None)
    came = by_sequence(await take(broker))
    assert set(came) == set(range(1, rows + 1))
    assert len({start_ms for start_ms, _ in came.values()}) == rows
    assert all(power_w == ((n - 1) % 100 * 60.0, 60.0, None, None) for n, (_, power_w) in came.items())


async def test_a_second_replay_sends_the_same_times_and_values(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home = home_file(broker, household, tmp_path)
    command = ["replay", recording(tmp_path / "house.csv", 500), "--home", home, "--time-zone", "UTC"]
    sent = []
    for outbox in ([], [], ["--outbox", tmp_path / "kept.db"], ["--outbox", tmp_path / "kept.db"]):
        async with agent(tmp_path, *command, *outbox) as running:
            assert await running.ends(30) == 0
        sent.append([(message.interval_start_ms, message.power_w) for message in await take(broker)])
    assert sent[0] == sent[1]
    assert len(sent[0]) == 500
    assert sorted(sent[2], key=str) == sorted(sent[3], key=str) == sorted(sent[0], key=str)
    assert not {path.name for path in tmp_path.glob("home.*")} - {"home.json"}  # noqa: ASYNC240 (a test)


async def test_a_server_that_is_killed_loses_nothing(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home, rows = home_file(broker, household, tmp_path), 8000
    command = ["replay", recording(tmp_path / "house.csv", rows), "--home", home, "--time-zone", "UTC"]
    async with agent(tmp_path, *command) as running:
        await eventually(broker.pending, 20, "the replay is under way")
        broker.server.kill()
        await eventually(lambda: running.lines("not connected"), 20, "the agent notices")
        assert running.process.returncode is None
        broker.server.start()
        assert await running.ends(60) == 0
    assert set(by_sequence(await take(broker))) == set(range(1, rows + 1))


async def test_a_full_share_of_the_backlog_is_waited_for(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home, rows = home_file(broker, household, tmp_path), MOST_UNSETTLED + 300
    command = ["replay", recording(tmp_path / "house.csv", rows), "--home", home, "--time-zone", "UTC"]
    async with agent(tmp_path, *command) as running:
        await eventually(lambda: running.lines("not acknowledged"), 60, "its share is full")
        assert running.lines("not acknowledged")[0]["reason"] == "full"
        waiting = await lanes(broker)
        assert len(waiting[Lane.BACKLOG]) == MOST_UNSETTLED
        came = await take(broker, 1000)
        assert await running.ends(60) == 0
    assert set(by_sequence(came + await take(broker))) == set(range(1, rows + 1))


async def test_without_a_stream_the_agent_waits_and_then_goes_on(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    async with broker.operator() as client:
        for lane in Lane:
            await client.jetstream().delete_stream(subjects.bundle_stream(broker.shard, lane))
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(-i) for i in range(50)])
    publisher = Publisher(outbox, household, 0)
    async with publishing(home_file(broker, household, tmp_path), outbox, publisher):
        await eventually(lambda: publisher.paused, 30, "the agent is not answered")
        assert outbox.state().waiting == 50
        await broker.ensure()
        await eventually(lambda: not outbox.state().waiting, 30, "all is acknowledged")
    assert len({message.interval_start_ms for message in await take(broker)}) == 50, "though some were sent twice"


async def test_the_newest_minute_goes_first_then_the_oldest(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "o.db", household)
    fresh = int(time.time() * 1000 - minute(0).interval_start_ms) // INTERVAL_MS - 1
    outbox.append([minute(index) for index in (7, 3, 5, fresh, 1)])
    async with publishing(home_file(broker, household, tmp_path), outbox, Publisher(outbox, household, 0)):
        await eventually(lambda: not outbox.state().waiting, 15, "all is acknowledged")
    came = {
        lane: [message.interval_start_ms for message in messages] for lane, messages in (await lanes(broker)).items()
    }
    assert came[Lane.LIVE] == [minute(fresh).interval_start_ms], "so the newest goes the way of what is live"
    assert came[Lane.BACKLOG] == [minute(index).interval_start_ms for index in (1, 3, 5, 7)]


async def test_a_minute_is_held_back_until_its_end_and_the_homes_phase(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    now_s = [minute(2).interval_start_ms / 1000 - 0.2]
    home = home_file(broker, household, tmp_path)
    write_home_file(home, dataclasses.replace(read_home_file(home), send_phase_ms=59_900))
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(0), minute(-1)])
    publisher = Publisher(outbox, household, 0, lambda: now_s[0])
    async with publishing(home, outbox, publisher):
        await eventually(lambda: outbox.state().waiting == 1, 15, "the older minute is acknowledged")
        assert outbox.newest(2**53) is not None
        now_s[0] += 0.2
        await eventually(lambda: not outbox.state().waiting, 15, "the newer one follows when its time has come")


async def test_another_phase_is_kept_to_from_the_next_connection_on(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home = broker.home_file(household, KEYS.public_pem)
    path = tmp_path / "home.json"
    write_home_file(path, dataclasses.replace(home, send_phase_ms=30_000))
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(0), minute(1)])
    publisher = Publisher(outbox, household, 0, lambda: minute(2).interval_start_ms / 1000 + 20)
    async with publishing(path, outbox, publisher) as health:
        await eventually(lambda: outbox.state().waiting == 1, 15, "the older minute is acknowledged")
        write_home_file(path, dataclasses.replace(home, send_phase_ms=10_000))
        broker.server.kill()
        await eventually(lambda: "broker" in health.troubles, 15, "the connection is lost")
        assert outbox.state().waiting == 1, "the newer one was held back"
        broker.server.start()
        await eventually(lambda: not outbox.state().waiting, 30, "it is sent at the new time")


async def test_an_ingest_that_is_killed_again_and_again_loses_nothing(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home, rows = home_file(broker, household, tmp_path), 12_000
    command = ["replay", recording(tmp_path / "house.csv", rows), "--home", home, "--time-zone", "UTC"]
    came: list[HomeReadings] = []
    async with agent(tmp_path, *command) as running:
        for _ in range(3):
            await eventually(broker.pending, 30, "messages arrive")
            ingest.kill()
            came += await take(broker)
            ingest.start()
        assert await running.ends(90) == 0
    assert set(by_sequence(came + await take(broker))) == set(range(1, rows + 1))


async def test_what_is_asked_for_again_is_sent_again(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home = home_file(broker, household, tmp_path)
    arguments = ["--home", home, "--sensor", "simulated:flat", "--history", 1]
    async with agent(tmp_path, "run", *arguments) as running:
        await eventually(
            lambda: any(line["percent"] == 100 for line in running.lines("history")), 30, "history is there"
        )
        first = by_sequence(await take(broker))
        since = "1970-01-01T00:00Z"
        async with agent(tmp_path, "resend", "--home", home, "--since", since) as resend:
            assert await resend.ends(10) == 0

        taken: list[HomeReadings] = []

        async def came_again() -> bool:
            taken.extend(await take(broker))
            return len(taken) >= 1440

        await eventually(came_again, 20, "the running agent sends all of it again")
        running.process.terminate()
        assert await running.ends(2.5) == 0
    again = by_sequence(taken + await take(broker))
    assert {sequence: again[sequence] for sequence in first} == first


async def test_history_is_filled_once_however_often_the_agent_dies(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home = home_file(broker, household, tmp_path)
    arguments = ["--home", home, "--sensor", "simulated:flat", "--history", 3]
    begun_ms = int(time.time() * 1000)
    for wait_s in (1.0, 1.4, 1.9, None):
        async with agent(tmp_path, "run", *arguments) as running:
            if wait_s is None:
                await eventually(
                    lambda: any(line["percent"] == 100 for line in running.lines("history")), 40, "history is there"
                )
                break
            try:
                await running.ends(wait_s)
            except TimeoutError:
                running.process.kill()
    came = by_sequence(await take(broker))
    with closing(Outbox(tmp_path / "home.outbox.db", household)) as outbox:
        held_back = {waiting.sequence for waiting in outbox.waiting(None, 2**53, 10)}
    assert set(came) | held_back == set(range(1, len(came) + len(held_back) + 1))
    times = Counter(start_ms for start_ms, _ in came.values())
    assert set(times.values()) == {1}
    begun_ms -= begun_ms % INTERVAL_MS
    assert set(range(begun_ms - 3 * 1440 * INTERVAL_MS, begun_ms - INTERVAL_MS, INTERVAL_MS)) <= set(times)


@pytest.mark.parametrize("trouble", ["expired", "damaged"])
async def test_a_home_that_lost_its_credential_takes_the_renewed_one(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path, trouble: str
) -> None:
    home = home_file(broker, household, tmp_path)
    good = broker.home_file(household)
    expired = broker.household_credentials(household, 1_000_000)
    useless = {"expired": expired, "damaged": good.credentials.replace("\nSU", "\nSUX")}
    write_home_file(home, dataclasses.replace(good, credentials=useless[trouble]))
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(0)])
    async with publishing(home, outbox, Publisher(outbox, household, 0)) as health:
        await eventually(lambda: health.troubles.get("broker") == "not connected", 10, "the credential is refused")
        write_home_file(home, good)
        await eventually(lambda: not outbox.state().waiting, 20, "the renewed credential is used")


async def test_a_home_whose_publishing_is_denied_keeps_its_minutes(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home, other = tmp_path / "home.json", mint_household_id()
    # A credential of another household: connecting works, publishing in our name does not.
    write_home_file(home, HomeFile(household, broker.shard, (broker.url,), broker.household_credentials(other), ""))
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(0)])
    publisher = Publisher(outbox, household, 0)
    async with publishing(home, outbox, publisher):
        await eventually(lambda: publisher.paused, 10, "the agent backs off")
        assert outbox.state().waiting == 1
    assert await broker.pending() == 0
