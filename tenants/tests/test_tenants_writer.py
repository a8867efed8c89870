"""The writer against a real broker and a real store: nothing lost, nothing doubled, nothing refused in silence."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.assignments import WatchedAssignments
from wattfleet_tenants.adapters.inbox import JetStreamInbox
from wattfleet_tenants.adapters.ledger import JetStreamLedger
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.adapters.quarantine import KEPT_BYTES, REASON, SEQUENCE, JetStreamQuarantine, JetStreamRefusals
from wattfleet_tenants.adapters.victoriametrics import VictoriaMetricsStore
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ports import RefusedMessage, Unavailable
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.series import power_selector
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.builders import A_MINUTE_MS, message, minutes
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire.readings_pb2 import Readings
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.writer import World, Writer

HOLD_S = 0.3


@asynccontextmanager
async def connected(broker: ShardBroker, creds: Path, inbox: str) -> AsyncIterator[NatsConnection]:
    connection = NatsConnection()
    await connection.connect_to([broker.url], creds, "test", inbox)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def writer_running(broker: ShardBroker, store_url: str, hold_s: float = HOLD_S) -> AsyncIterator[Health]:
    health = Health("inbox", "store", "assignments")
    stopping = asyncio.Event()
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats, httpx.AsyncClient() as http:
        assignments = WatchedAssignments(nats)
        watching = asyncio.create_task(assignments.keep_watching())
        await asyncio.wait_for(assignments.loaded.wait(), 10)
        world = World(
            {lane: JetStreamInbox(nats, broker.shard, lane) for lane in Lane},
            VictoriaMetricsStore(http, store_url),
            JetStreamQuarantine(nats, broker.shard),
            assignments,
            JetStreamLedger(nats, broker.shard),
        )
        running = asyncio.create_task(Writer(world, Limits(), health, hold_s).run(stopping))
        try:
            yield health
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)
            watching.cancel()


async def publish(broker: ShardBroker, household: HouseholdId, payloads: list[bytes]) -> None:
    for first in range(0, len(payloads), 256):
        sent = [(household, payload) for payload in payloads[first : first + 256]]
        await broker.publish_bundle(*sent, lane=Lane.LIVE if first % 512 else Lane.BACKLOG)


async def all_acknowledged(broker: ShardBroker, within_s: float = 20) -> None:
    async def nothing_pending() -> bool:
        return await broker.pending() == 0

    await eventually(nothing_pending, within_s, "every message is stored and acknowledged")


async def test_every_reading_arrives_exactly_as_sent(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    async with writer_running(broker, victoria_metrics.url) as health:
        await publish(broker, household, minutes(500))
        await all_acknowledged(broker)
        assert health.troubles == {}
    stored = {series.labels["socket"]: series for series in victoria_metrics.export(power_selector(household))}
    assert stored["1"].values == [(i % 1000) / 10 for i in range(500)]
    assert stored["1"].at_ms == [A_MINUTE_MS + i * INTERVAL_MS for i in range(500)]
    assert stored["2"].values == [float(i % 77) for i in range(500)]
    assert len(stored["3"].values) == 400, "missing stays missing"


def day_ahead() -> int:
    return (int(time.time()) // 60 + 24 * 60) * INTERVAL_MS


def proto(**fields: object) -> bytes:
    return Readings(**{"version": 1, "sequence": 9, "interval_start_ms": A_MINUTE_MS, **fields}).SerializeToString()  # type: ignore[arg-type]


REFUSED = {
    "malformed": b"\xff" * 20,
    "oversized": b"\x08\x01" + b"x" * 9_000,
    "unknown-version": proto(version=2, power_dw=[1]),
    "too-many-sockets": proto(power_dw=[1] * 65),
    "no-sequence": proto(sequence=0, power_dw=[1]),
    "empty": proto(),
    "unaligned": proto(interval_start_ms=A_MINUTE_MS + 1, power_dw=[1]),
    "future": proto(interval_start_ms=day_ahead(), power_dw=[1]),
    "too-old": proto(interval_start_ms=60_000, power_dw=[1]),
    "implausible-power": proto(power_dw=[1, 250_001]),
    "implausible-temperature": proto(power_dw=[1], temperature_cc=[25_001]),
}


async def test_every_kind_of_bad_message_is_kept_with_its_reason_and_the_good_ones_are_stored(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    payloads = [part for bad in REFUSED.values() for part in (bad, bad)]
    async with writer_running(broker, victoria_metrics.url):
        await publish(broker, household, [*minutes(20), *payloads, *minutes(40)[20:]])
        await all_acknowledged(broker)
    assert victoria_metrics.count(power_selector(household)) == 40 * 2 + 32
    async with connected(broker, broker.reader_creds, subjects.READER_INBOX) as nats:
        refused = await JetStreamRefusals(nats, broker.shard).refused(household)
        assert await JetStreamRefusals(nats, broker.shard).refused(mint_household_id()) == []
    assert {one.reason: one.count for one in refused} == dict.fromkeys(REFUSED, 2)
    assert all(abs(one.last_ms / 1000 - time.time()) < 60 for one in refused)


async def test_a_refused_message_can_be_read_in_quarantine(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    async with writer_running(broker, victoria_metrics.url):
        await publish(broker, household, [REFUSED["implausible-power"], REFUSED["oversized"]])
        await all_acknowledged(broker)
    async with broker.operator() as nats:
        stream = subjects.quarantine_stream(broker.shard)
        kept = [await nats.jetstream().get_msg(stream, seq) for seq in (1, 2)]
    by_reason = {message.headers[REASON]: message for message in kept if message.headers}
    assert by_reason["implausible-power"].data == REFUSED["implausible-power"]
    assert by_reason["implausible-power"].headers[SEQUENCE] == "9"  # type: ignore[index]
    assert by_reason["oversized"].data == REFUSED["oversized"][:KEPT_BYTES]


async def test_a_household_of_another_shard_is_refused_until_it_is_assigned_and_after_it_left(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    async with writer_running(broker, victoria_metrics.url):
        await publish(broker, household, [message(1, power_w=(1.0,))])
        await all_acknowledged(broker)
        await broker.assign(household)
        await publish(broker, household, [message(2, power_w=(2.0,))])
        await all_acknowledged(broker)
        await broker.unassign(household)
        watch_is_told = [message(3 + i, A_MINUTE_MS + (3 + i) * INTERVAL_MS, (3.0,)) for i in range(2)]

        async def refused_again() -> bool:
            await publish(broker, household, watch_is_told)
            await all_acknowledged(broker)
            async with broker.operator() as nats:
                return (await nats.jetstream().stream_info(subjects.quarantine_stream(broker.shard))).state.messages > 1

        await eventually(refused_again, 15, "a household that left is foreign")
    (stored,) = victoria_metrics.export(power_selector(household))
    assert 1.0 not in stored.values
    assert 2.0 in stored.values


async def test_more_sockets_or_thermometers_than_a_household_s_quota_allows_are_refused_to_it_alone(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    neighbour = mint_household_id()
    await broker.assign(household, quota=Quota(sockets=2, thermometers=1))
    await broker.assign(neighbour)
    within = [proto(interval_start_ms=A_MINUTE_MS + i * INTERVAL_MS, power_dw=[10, 20]) for i in range(40)]
    beyond = [proto(power_dw=[1, 2, 3]), proto(power_dw=[1, 2], temperature_cc=[1, 2]), proto(power_dw=[1] * 64)]
    async with writer_running(broker, victoria_metrics.url):
        await publish(broker, household, [*within, *beyond * 20])
        await publish(broker, neighbour, beyond * 20)
        await all_acknowledged(broker)
    assert await refusals(broker, household) == {"over-quota": 60}
    assert await refusals(broker, neighbour) == {}
    assert victoria_metrics.count(power_selector(household)) == 40 * 2
    assert len(victoria_metrics.export(power_selector(neighbour))) == 64


async def test_a_quota_is_known_of_a_newborn_and_follows_every_change(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    async with writer_running(broker, victoria_metrics.url):
        await broker.assign(household, quota=Quota(sockets=1))
        await publish(broker, household, [message(1, power_w=(1.0, 2.0))])
        await all_acknowledged(broker)
        assert await refusals(broker, household) == {"over-quota": 1}, "its first message"
        await broker.assign(household)

        async def taken_again() -> bool:
            await publish(broker, household, [message(2, power_w=(1.0, 2.0))])
            await all_acknowledged(broker)
            return victoria_metrics.count(power_selector(household)) == 2

        await eventually(taken_again, 30, "the change is heard of")


async def refusals(broker: ShardBroker, household: HouseholdId) -> dict[str, int]:
    async with connected(broker, broker.reader_creds, subjects.READER_INBOX) as nats:
        return {one.reason: one.count for one in await JetStreamRefusals(nats, broker.shard).refused(household)}


async def test_a_refusal_that_is_delivered_twice_is_kept_once(broker: ShardBroker, household: HouseholdId) -> None:
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats:
        quarantine = JetStreamQuarantine(nats, broker.shard)
        refused = RefusedMessage("live.run.7.3", b"bad", "malformed", household, None)
        await quarantine.keep([refused])
        await quarantine.keep([refused] * 2)
    async with broker.operator() as nats:
        assert (await nats.jetstream().stream_info(subjects.quarantine_stream(broker.shard))).state.messages == 1


async def test_a_killed_store_that_had_said_yes_loses_nothing(
    broker: ShardBroker, own_victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    # This store writes to disk within 9 s, the platform's (which flushes every 5 s) within 12 s.
    async with writer_running(broker, own_victoria_metrics.url, hold_s=11.0):
        await publish(broker, household, minutes(1000))
        await eventually(lambda: rows_inserted(own_victoria_metrics) == 2800, 10, "the store said yes")
        own_victoria_metrics.kill()
        own_victoria_metrics.start()
        await all_acknowledged(broker, 40)
        own_victoria_metrics.kill()
        own_victoria_metrics.start()
    assert own_victoria_metrics.count(power_selector(household)) == 2800


def rows_inserted(store: VictoriaMetrics) -> int:
    metrics = httpx.get(f"{store.url}/metrics").text
    ways = ('vm_rows_inserted_total{type="csvimport"}', 'vm_rows_inserted_total{type="promremotewrite"}')
    return sum(int(line.split()[-1]) for line in metrics.splitlines() if line.startswith(ways))


async def test_a_killed_broker_loses_nothing_that_it_had_confirmed(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    await broker.ensure(ack_wait_s=2.0)
    async with writer_running(broker, victoria_metrics.url) as health:
        await publish(broker, household, minutes(1000))
        broker.server.kill()
        await eventually(lambda: "inbox" in health.troubles, 10, "the writer says that NATS is away")
        broker.server.start()
        await all_acknowledged(broker, 30)
        await publish(broker, household, minutes(1010)[1000:])
        await all_acknowledged(broker, 30)
        assert health.troubles == {}
    assert victoria_metrics.count(power_selector(household)) == 1010 * 2 + 808


async def test_a_stream_that_is_gone_for_a_while_is_taken_up_again(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    async with writer_running(broker, victoria_metrics.url) as health:
        async with broker.operator() as nats:
            for lane in Lane:
                await nats.jetstream().delete_stream(subjects.bundle_stream(broker.shard, lane))
        await eventually(lambda: "inbox" in health.troubles, 15, "the writer says that its inbox is gone")
        await broker.ensure()
        await publish(broker, household, minutes(10))
        await all_acknowledged(broker, 20)
        assert health.troubles == {}
    assert victoria_metrics.count(power_selector(household)) == 28


async def test_sending_everything_again_changes_nothing(
    broker: ShardBroker, victoria_metrics: VictoriaMetrics, household: HouseholdId
) -> None:
    await broker.assign(household)
    async with writer_running(broker, victoria_metrics.url):
        for _ in range(3):
            await publish(broker, household, minutes(50))
            await all_acknowledged(broker)
    assert victoria_metrics.count(power_selector(household)) == 50 * 2 + 40


async def test_a_household_that_was_heard_of_long_ago_may_have_left(
    broker: ShardBroker, household: HouseholdId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.assign(household)
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats:
        assignments = WatchedAssignments(nats)
        watching = asyncio.create_task(assignments.keep_watching())
        await asyncio.wait_for(assignments.loaded.wait(), 10)
        first_read_s = assignments._held.read_at_s
        await eventually(lambda: assignments._held.read_at_s > first_read_s, 10, "they are read every other second")
        watching.cancel()
        assert await assignments.foreign([household]) == set()
        monkeypatch.setattr("wattfleet_tenants.adapters.assignments.KNOWN_WITHIN_S", 0.0)
        with pytest.raises(Unavailable, match="last read"):
            await assignments.foreign([household])
        with pytest.raises(Unavailable, match="last read"):
            assignments.edition()


async def test_an_edition_of_the_assignments_ends_with_every_change_and_with_nothing_else(
    broker: ShardBroker, household: HouseholdId
) -> None:
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats:
        assignments = WatchedAssignments(nats)
        watching = asyncio.create_task(assignments.keep_watching())
        await asyncio.wait_for(assignments.loaded.wait(), 10)
        for change in (broker.assign, broker.unassign):
            edition, read_at_s = assignments.edition(), assignments._held.read_at_s
            await eventually(lambda at_s=read_at_s: assignments._held.read_at_s > at_s, 10, "nothing is new")  # type: ignore[misc]
            assert assignments.edition() == edition
            await change(household)
            await eventually(lambda old=edition: assignments.edition() != old, 10, "the change is heard")  # type: ignore[misc]
            assert (await assignments.foreign([household]) == set()) is (change == broker.assign)
        watching.cancel()


async def test_what_changed_while_nobody_watched_ends_the_edition(broker: ShardBroker, household: HouseholdId) -> None:
    await broker.assign(household)
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats:
        assignments = WatchedAssignments(nats)
        watching = asyncio.create_task(assignments.keep_watching())
        await asyncio.wait_for(assignments.loaded.wait(), 10)
        before, edition = assignments._held, assignments.edition()
        watching.cancel()
        await broker.unassign(household)
        watching = asyncio.create_task(assignments.keep_watching())
        await eventually(lambda: assignments._held is not before, 10, "all is read anew")
        assert assignments.edition() != edition
        assert await assignments.foreign([household]) == {household}
        watching.cancel()


async def test_a_full_shard_of_households_is_known_before_the_first_message(broker: ShardBroker) -> None:
    """Many more than are read at once."""
    households = [mint_household_id() for _ in range(8_000)]
    async with broker.operator() as nats:
        for first in range(0, len(households), 500):
            keys = [f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{household}" for household in households[first : first + 500]]
            await asyncio.gather(*[nats.request(key, b"", timeout=10) for key in keys])
    async with connected(broker, broker.writer_creds, subjects.WRITER_INBOX) as nats:
        assignments = WatchedAssignments(nats)
        watching = asyncio.create_task(assignments.keep_watching())
        await asyncio.wait_for(assignments.loaded.wait(), 40)
        assert len(assignments._held.carried) == len(households)
        assert await assignments.foreign(households) == set()
        watching.cancel()
