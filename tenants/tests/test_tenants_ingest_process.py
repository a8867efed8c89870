"""The ingest as the platform runs it, at a real broker: acknowledged is on disk, and nobody else is answered."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters import jetstream
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ingest.homes import MOST_UNSETTLED
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.reading import INTERVAL_MS, interval_start
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.data_plane import IngestProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import Program
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire.bundle import Bundle, decode

ANSWER_WITHIN_S = 10.0


@contextmanager
def running(program: Program) -> Iterator[None]:
    try:
        program.start()
        yield
    finally:
        if program.running:
            program.kill()


@pytest.fixture
def ingest(broker: ShardBroker, tmp_path: Path) -> Iterator[IngestProcess]:
    process = IngestProcess(tmp_path, broker)
    with running(process):
        yield process


async def bundles(broker: ShardBroker, lane: Lane) -> list[Bundle]:
    """All that are in a lane's stream."""
    async with broker.operator() as operator:
        js, stream = operator.jetstream(), subjects.bundle_stream(broker.shard, lane)
        state = (await js.stream_info(stream)).state
        return [
            decode((await js.get_msg(stream, position)).data or b"")
            for position in range(state.first_seq, state.last_seq + 1)
            if state.messages
        ]


async def stored(broker: ShardBroker) -> Counter[tuple[bytes, bytes]]:
    """How often each message of each household is in the streams."""
    found = [bundle for lane in Lane for bundle in await bundles(broker, lane)]
    return Counter(pair for bundle in found for pair in bundle.each())


def metric(ingest: IngestProcess, line: str) -> float:
    text = httpx.get(f"{ingest.health_url}/metrics", timeout=5).text
    return sum(float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line))


async def limit_streams(broker: ShardBroker, max_bytes: int) -> None:
    async with broker.operator() as operator:
        for lane in Lane:
            await operator.jetstream().update_stream(jetstream.bundle_stream(broker.shard, lane, max_bytes))


class Sender:
    """A home that sends from a connection that comes back, and notes what it is told of each message."""

    def __init__(self, broker: ShardBroker, household: HouseholdId, connection: Client) -> None:
        self.household = household
        self.told: dict[bytes, bytes] = {}
        self.sent = 0
        self._subject = subjects.measurements(broker.shard, household)
        self._connection = connection
        self._inbox = connection.new_inbox()

    async def listen(self) -> None:
        await self._connection.subscribe(f"{self._inbox}.*", cb=self._note, pending_msgs_limit=-1)

    async def send(self, count: int) -> None:
        """Payloads are numbers."""
        for _ in range(count):
            await self._connection.publish(self._subject, b"%d" % self.sent, reply=f"{self._inbox}.{self.sent}")
            self.sent += 1

    def acknowledged(self) -> set[bytes]:
        return {payload for payload, receipt in self.told.items() if receipt == b"ok"}

    async def _note(self, answer: Msg) -> None:
        payload = answer.subject.rpartition(".")[2].encode()
        assert payload not in self.told, "answered once"
        self.told[payload] = answer.data


@asynccontextmanager
async def sender(broker: ShardBroker, household: HouseholdId, folder: Path) -> AsyncIterator[Sender]:
    creds = folder / f"{household}.creds"
    creds.write_text(broker.household_credentials(household))
    connection = NatsConnection()
    await connection.connect_to([broker.url], creds, "sender", subjects.agent_inbox(household))
    home = Sender(broker, household, connection)
    await home.listen()
    try:
        yield home
    finally:
        await connection.close()


def fresh() -> bytes:
    """What a home sends for the minute that has just ended."""
    return message(1, interval_start(int(time.time() * 1000)) - INTERVAL_MS)


async def test_a_message_is_acknowledged_when_it_is_in_the_stream_and_the_next_ones_are_backlog(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId
) -> None:
    payloads = [fresh(), b"", b"MSG m.s1.x 1 5\r\nhello\r\n", bytes(range(256)) * 64]
    subject = subjects.measurements(broker.shard, household)
    async with broker.agent(household) as agent:
        for payload in payloads:
            answer = await agent.request(subject, payload, timeout=ANSWER_WITHIN_S)
            assert answer.data == b"ok"
            assert (await stored(broker))[household.encode(), payload] == 1
        answer = await agent.request(
            subject, b"with headers", timeout=ANSWER_WITHIN_S, headers={"Nats-Msg-Id": "1", "Nats-Rollup": "all"}
        )
        assert answer.data == b"ok"
    live, backlog = await bundles(broker, Lane.LIVE), await bundles(broker, Lane.BACKLOG)
    assert [bundle.each() for bundle in live] == [[(household.encode(), payloads[0])]]
    later = (*payloads[1:], b"with headers")
    assert [bundle.each() for bundle in backlog] == [[(household.encode(), payload)] for payload in later]
    assert [(bundle.number, bundle.messages_before) for bundle in backlog] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    (run,) = {bundle.run for bundle in (*live, *backlog)}
    assert len(run) == 12
    assert run.isalnum()


async def test_without_an_ingest_a_home_hears_at_once_that_nobody_is_there(
    broker: ShardBroker, household: HouseholdId
) -> None:
    async with broker.agent(household) as agent:
        with pytest.raises(nats.errors.NoRespondersError):
            await agent.request(subjects.measurements(broker.shard, household), fresh(), timeout=ANSWER_WITHIN_S)


async def test_a_chosen_reply_subject_reaches_nobody_else(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId
) -> None:
    other = mint_household_id()
    hostile = (
        f"{subjects.agent_inbox(other)}.x",
        subjects.agent_inbox(household),
        f"{subjects.agent_inbox(household)}x.y",
        f"{subjects.agent_inbox(household)}..x",
        f"{subjects.agent_inbox(household)}.x.",
        subjects.commands(other),
        subjects.measurements(broker.shard, other),
        subjects.measurements(broker.shard, household),
        subjects.bundles(broker.shard, Lane.LIVE, "abcdefghijkl"),
        f"$JS.API.STREAM.PURGE.{subjects.bundle_stream(broker.shard, Lane.LIVE)}",
        f"{subjects.INGEST_INBOX}.x",
        f"{subjects.GATEWAY_INBOX}.x",
        "_INBOX.>",
    )
    heard: list[str] = []

    async def note(msg: Msg) -> None:
        heard.append(msg.subject)

    subject = subjects.measurements(broker.shard, household)
    async with (
        broker.agent(household) as agent,
        broker.agent(other) as victim,
        broker.operator() as operator,
        broker.connection(broker.gateway_creds) as gateway,
    ):
        for listener, wanted in (
            (victim, f"{subjects.agent_inbox(other)}.>"),
            (victim, subjects.commands(other)),
            (operator, "$JS.API.STREAM.PURGE.>"),
            (operator, f"{subjects.INGEST_INBOX}.x"),
            (operator, "_INBOX.>"),
            (gateway, f"{subjects.GATEWAY_INBOX}.>"),
        ):
            await listener.subscribe(wanted, cb=note)
            await listener.flush()
        await agent.request(subject, b"live", timeout=ANSWER_WITHIN_S)
        for reply in hostile:
            client_checks_subjects = agent._skip_subject_validation
            agent._skip_subject_validation = True
            await agent.publish(subject, reply.encode(), reply=reply)
            agent._skip_subject_validation = client_checks_subjects
        answer = await agent.request(subject, b"last", timeout=ANSWER_WITHIN_S)
        assert answer.data == b"ok"
        for listener in (victim, operator, gateway):
            await listener.flush()
    assert heard == []
    found = await stored(broker)
    assert found == {(household.encode(), text): 1 for text in (b"live", b"last", *(r.encode() for r in hostile))}
    assert metric(ingest, "wattfleet_ingest_withheld_total") == len(hostile) - 2, "and two are no subjects at all"
    assert "ermissions" not in ingest.log.read_text(), "the broker never had to refuse an answer"


async def test_what_was_acknowledged_survives_sigkill_of_broker_and_ingest(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    async with sender(broker, household, tmp_path) as home:

        async def load() -> None:
            while True:
                await home.send(100)
                await asyncio.sleep(0.01)

        loading = asyncio.create_task(load())
        try:
            for victim in (broker.server, ingest, broker.server, ingest):
                had = len(home.acknowledged())
                await eventually(lambda had=had: len(home.acknowledged()) > had + 500, 20, "it flows")
                victim.kill()
                victim.start()
                await eventually(ingest.ready, 20, "the ingest is ready")
            had = len(home.acknowledged())
            await eventually(lambda: len(home.acknowledged()) > had + 500, 20, "it flows again")
        finally:
            loading.cancel()
    found = await stored(broker)
    assert {(household.encode(), payload) for payload in home.acknowledged()} <= set(found)
    await check_numbers(broker)


async def check_numbers(broker: ShardBroker) -> None:
    """Per run and lane every number is there, in order, and says how many messages came before."""
    for lane in Lane:
        next_of_run: dict[str, tuple[int, int]] = {}
        for bundle in await bundles(broker, lane):
            expected = next_of_run.get(bundle.run, (1, 0))
            if bundle.number == expected[0] - 1:
                continue  # once more, since a killed broker had no time to remember that it has it
            assert (bundle.number, bundle.messages_before) == expected
            next_of_run[bundle.run] = (bundle.number + 1, bundle.messages_before + len(bundle))


async def test_a_full_stream_is_said_and_taken_again_when_there_is_room(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId
) -> None:
    subject = subjects.measurements(broker.shard, household)
    await limit_streams(broker, 1)
    async with broker.agent(household) as agent:
        for _ in range(3):
            answer = await agent.request(subject, fresh(), timeout=ANSWER_WITHIN_S)
            assert answer.data == b"full"
        await limit_streams(broker, 2**20)
        answer = await agent.request(subject, fresh(), timeout=ANSWER_WITHIN_S)
        assert answer.data == b"ok"
    (bundle,) = await bundles(broker, Lane.LIVE)
    assert bundle.number == 1
    assert metric(ingest, 'wattfleet_ingest_refused_total{reason="full"}') == 3


async def test_the_flood_of_one_home_ends_in_its_own_refusals_and_delays_no_other(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    flood = MOST_UNSETTLED + 10_000
    async with sender(broker, household, tmp_path) as home:
        flooding = asyncio.create_task(home.send(flood))
        for _ in range(10):
            other = mint_household_id()
            async with broker.agent(other) as agent:
                subject = subjects.measurements(broker.shard, other)
                answer = await agent.request(subject, fresh(), timeout=3)
                assert answer.data == b"ok"
        await flooding
        await eventually(lambda: metric(ingest, "wattfleet_ingest_received_total") >= flood + 10, 60, "all arrived")
        await eventually(lambda: len(home.acknowledged()) == MOST_UNSETTLED + 1, 60, "its share is acknowledged")
    assert set(home.told.values()) == {b"ok", b"full"}
    dropped = metric(ingest, 'wattfleet_ingest_refused_total{reason="dropped"}')
    assert len(home.told) + dropped == flood


async def test_a_household_s_quota_is_what_may_wait_of_it_after_a_change_and_after_a_restart_too(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    backlog = 'wattfleet_ingest_acknowledged_total{lane="backlog"}'
    one_day, two_days = Quota(backlog_days=1), Quota(backlog_days=2)
    async with sender(broker, household, tmp_path) as home:

        async def waits(quota: Quota) -> None:
            """Of a home that does not cease to send, as much as `quota` allows, and no more."""

            async def all_of_it() -> bool:
                await home.send(200)
                return metric(ingest, backlog) >= quota.backlog_messages

            await eventually(all_of_it, 60, f"the share of {quota} is used up")
            received = metric(ingest, "wattfleet_ingest_received_total")
            await home.send(500)
            await eventually(
                lambda: metric(ingest, "wattfleet_ingest_received_total") >= received + 500, 20, "all came"
            )
            await eventually(lambda: metric(ingest, "wattfleet_ingest_bundles_in_flight") == 0, 20, "all are carried")
            assert metric(ingest, backlog) == quota.backlog_messages

        ingest.kill()
        await broker.assign(household, quota=one_day)
        ingest.start()
        await waits(one_day)
        await broker.assign(household, quota=two_days)
        await waits(two_days)
        ingest.kill()
        ingest.start()
        await waits(two_days)
    assert set(home.told.values()) == {b"ok", b"full"}


async def test_sigterm_confirms_what_was_taken_and_exits_0(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    async with sender(broker, household, tmp_path) as home:
        sending = asyncio.create_task(home.send(5_000))
        await eventually(lambda: len(home.acknowledged()) > 100, 20, "it flows")
        code = await asyncio.to_thread(ingest.stop)
        await sending
        assert code == 0
        answered = len(home.told)
    found = await stored(broker)
    assert set(home.told.values()) <= {b"ok", b""}, "confirmed, or nobody was there any more"
    assert {(household.encode(), payload) for payload in home.acknowledged()} == set(found)
    assert answered


async def test_it_is_ready_only_once_its_streams_are_there(tmp_path: Path) -> None:
    broker = ShardBroker(tmp_path / "nats")
    broker.start()
    process = IngestProcess(tmp_path, broker)
    process._ready = lambda: "M-s1-live" in troubles(process) or "lane live" in troubles(process)
    try:
        with running(process):
            assert not process.ready()
            await broker.ensure()
            await eventually(process.ready, 10, "ready")
            broker.server.kill()
            await eventually(lambda: not process.ready(), 15, "the loss is seen")
            assert process.stop() == 0
    finally:
        if broker.server.running:
            broker.server.kill()


def troubles(process: IngestProcess) -> str:
    try:
        return httpx.get(f"{process.health_url}/readyz", timeout=1).text
    except httpx.HTTPError:
        return ""


async def test_two_ingests_share_the_work(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = IngestProcess(tmp_path / "second", broker)
    with running(second):
        async with sender(broker, household, tmp_path) as home:
            await home.send(2_000)
            await eventually(lambda: len(home.acknowledged()) == 2_000, 20, "all are acknowledged")
    found = await stored(broker)
    assert set(found.values()) == {1}
    assert len(found) == 2_000
    await check_numbers(broker)


def test_a_missing_setting_is_said_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "wattfleet_tenants.ingest"],
        check=False,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == "WATTFLEET_SHARD must be set"
