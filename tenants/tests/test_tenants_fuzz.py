"""Whatever a home sends: no crash, no series of another home, each message stored or in quarantine, and counted.

The corpus and the strategy are in `hostile_messages`. Each message goes through the same functions as in the writer,
in a batch with good messages of a neighbour; then all of them go through the real ingest, writer and store.
"""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from hostile_messages import ACCEPTED, REFUSED, hostile
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.adapters.quarantine import JetStreamRefusals
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ports import Delivery
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.series import power_selector, temperature_selector
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.builders import A_MINUTE_MS, bundle_of, minutes
from wattfleet_tenants.testing.data_plane import IngestProcess, WriterProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire import codec
from wattfleet_tenants.wire.bundle import decode, encode
from wattfleet_tenants.writer.checks import FOREIGN, REASONS, Limits
from wattfleet_tenants.writer.render import Renderer
from wattfleet_tenants.writer.roster import Roster
from wattfleet_tenants.writer.triage import Arrivals, Sorted, sort

HOME, NEIGHBOUR, STRANGER = b"h0123456789abcdefghij", b"hneighbour0123456", b"hstranger0123456789abcdefgh"
UNREADABLE = {"malformed", "oversized", "unknown-version", "too-many-sockets"}
RENDERER = Renderer(Limits().max_power_w)
NOW_MS = int(time.time() * 1000)


def sorted_out(arrivals: Arrivals) -> Sorted:
    """As the writer does it, rendering included: what is good must be writable."""
    strangers = [number for number, name in enumerate(arrivals.roster.names) if name == STRANGER.decode()]
    outcome = sort(arrivals.messages, arrivals.senders, strangers, {}, Limits(), NOW_MS)
    for batch in outcome.good:
        RENDERER.render(batch)
    return outcome


def arrivals_of(messages: list[tuple[bytes, bytes]]) -> Arrivals:
    households, payloads = zip(*messages, strict=True)
    through_the_wire = decode(encode(bundle_of(households, payloads)))
    return Arrivals(Lane.LIVE, [Delivery(through_the_wire, "receipt", 1)], Roster())


@given(st.lists(st.tuples(st.sampled_from([HOME, STRANGER]), hostile, st.sampled_from([1, 33])), max_size=10))
def test_every_message_is_stored_or_refused_with_a_known_reason_and_good_ones_beside_it_are_stored(
    sent: list[tuple[bytes, bytes, int]],
) -> None:
    fine = [(NEIGHBOUR, payload) for payload in minutes(10)]
    messages = [*fine[:5], *[(home, payload) for home, payload, times in sent for _ in range(times)], *fine[5:]]
    outcome = sorted_out(arrivals_of(messages))
    good = [position for batch in outcome.good for position in batch.positions.tolist()]
    assert sorted(good + [one.position for one in outcome.objections]) == list(range(len(messages)))
    for batch in outcome.good:
        for row, position in enumerate(batch.positions.tolist()):
            assert batch.households[row] == messages[position][0], "nobody's readings become another's"
            assert (abs(batch.power_dw[row][batch.power_dw[row] != MISSING]) <= 250_000).all()
    for one in outcome.objections:
        home = messages[one.position][0]
        assert home != NEIGHBOUR
        assert one.reason in {*REASONS, *UNREADABLE, FOREIGN}
        assert (one.reason == FOREIGN) == (home == STRANGER)


@pytest.mark.parametrize("times", [1, 40], ids=["alone", "as a matrix"])
@pytest.mark.parametrize("name", REFUSED)
def test_the_corpus_is_refused_for_its_reason(name: str, times: int) -> None:
    payload, reason = REFUSED[name]
    outcome = sorted_out(arrivals_of([(HOME, payload)] * times))
    assert [one.reason for one in outcome.objections] == [reason] * times


@pytest.mark.parametrize("times", [1, 40], ids=["alone", "as a matrix"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_odd_but_right_messages_are_stored_as_the_codec_reads_them(name: str, times: int) -> None:
    outcome = sorted_out(arrivals_of([(HOME, ACCEPTED[name])] * times))
    (batch,) = outcome.good
    assert len(batch) == times
    expected = codec.parse(ACCEPTED[name])
    assert batch.power_dw[0].tolist() == list(expected.power_dw)
    assert batch.temperature_cc[0].tolist() == list(expected.temperature_cc)


async def test_the_corpus_through_the_whole_data_plane_harms_nobody_and_is_all_accounted_for(
    broker: ShardBroker, ingest: IngestProcess, victoria_metrics: VictoriaMetrics, tmp_path: Path
) -> None:
    hostile_home, neighbour = mint_household_id(), mint_household_id()
    await broker.assign(hostile_home, neighbour)
    odd = [bytes(payload) for payload in ACCEPTED.values()]
    bad = [payload for payload, _ in REFUSED.values()]
    writer = WriterProcess(tmp_path, broker, victoria_metrics.url)
    writer.start()
    try:
        await asyncio.gather(send(broker, hostile_home, odd + bad), send(broker, neighbour, minutes(300)))
        await eventually(lambda: balanced(writer, len(odd) + 300, len(bad)), 60, "every message is accounted for")
    finally:
        writer.kill()
    await refused_for_their_reasons(broker, hostile_home)
    stored = {series.labels["socket"]: series for series in victoria_metrics.export(power_selector(neighbour))}
    assert stored["1"].values == [(i % 1000) / 10 for i in range(300)]
    assert {len(one.values) for one in stored.values()} == {300, 240}
    for series in victoria_metrics.export(power_selector(hostile_home)):
        assert series.at_ms == [A_MINUTE_MS], "nothing but the odd messages' minute"
    assert victoria_metrics.count(temperature_selector(hostile_home)) == 1


async def send(broker: ShardBroker, household: HouseholdId, payloads: list[bytes]) -> None:
    async with broker.agent(household) as agent:
        subject = subjects.measurements(broker.shard, household)
        for first in range(0, len(payloads), 100):
            await asyncio.gather(*[agent.request(subject, one, timeout=20) for one in payloads[first : first + 100]])


def balanced(writer: WriterProcess, stored: int, quarantined: int) -> bool:
    """Whether the shard's ledger says exactly this, with nothing pending and nothing lost."""
    lines = [line.split() for line in httpx.get(f"{writer.health_url}/metrics").text.splitlines()]
    ledger = dict.fromkeys(("sent", "stored", "quarantined", "pending", "lost"), 0.0)
    for key, value in (line for line in lines if line[0].startswith("wattfleet_ledger_")):
        ledger[key.removeprefix("wattfleet_ledger_").partition("{")[0]] += float(value)
    return list(ledger.values()) == [stored + quarantined, stored, quarantined, 0, 0]


async def refused_for_their_reasons(broker: ShardBroker, household: HouseholdId) -> None:
    connection = NatsConnection()
    await connection.connect_to([broker.url], broker.reader_creds, "test", subjects.READER_INBOX)
    try:
        refused = await JetStreamRefusals(connection, broker.shard).refused(household)
    finally:
        await connection.close()
    reasons = [reason for _, reason in REFUSED.values()]
    assert {one.reason: one.count for one in refused} == {reason: reasons.count(reason) for reason in reasons}
