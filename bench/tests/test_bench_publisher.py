"""The bare publisher against an ingest that refuses: what is refused is sent again, and nothing else."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from wattfleet_bench.blobs import Blobs
from wattfleet_bench.homes import Homes, day_in_the_past_ms
from wattfleet_bench.publisher import Settings
from wattfleet_bench.shard_under_test import PublisherProcess, bare_publisher
from wattfleet_tenants import subjects
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.wire.receipts import ACKNOWLEDGED, BUSY, FULL

HOMES = Homes(30, day_in_the_past_ms())
MINUTES = 10


def publisher(broker: ShardBroker, folder: Path) -> PublisherProcess:
    creds = broker.edge_credentials("bare-publisher", bare_publisher(broker))
    settings = Settings(broker.url, str(creds), broker.shard, HOMES.count, HOMES.day_ms, connections=2, window=100)
    return PublisherProcess(settings, folder / "publisher.log")


async def test_what_is_refused_is_sent_again_and_only_that(broker: ShardBroker, tmp_path: Path) -> None:
    arrived: Counter[bytes] = Counter()

    async def answer(message: Msg) -> None:
        arrived[message.data] += 1
        refusal = {0: BUSY, 1: FULL}.get(sum(message.data) % 5)
        await message.respond(refusal if refusal and arrived[message.data] == 1 else ACKNOWLEDGED)

    async with broker.connection(broker.ingest_edge_creds, subjects.INGEST_INBOX) as ingest:
        await ingest.subscribe(subjects.all_measurements(broker.shard), cb=answer)
        await ingest.flush()
        sending = publisher(broker, tmp_path)
        try:
            assert sending.prepare(3, MINUTES) == HOMES.count * MINUTES
            told = await asyncio.to_thread(sending.send)
        finally:
            sending.close()
    blobs = Blobs(HOMES, broker.shard, (0, HOMES.count))
    sent = {payload for minute in range(3, 3 + MINUTES) for payload in blobs.payloads(minute)}
    assert set(arrived) == sent
    assert told["messages"] == len(sent)
    twice = {payload for payload in sent if sum(payload) % 5 < 2}
    assert {payload for payload, times in arrived.items() if times == 2} == twice
    assert sum(told["refused"].values()) == len(twice)
    assert set(told["refused"]) == {"busy", "full"}


async def test_without_an_ingest_it_says_so(broker: ShardBroker, tmp_path: Path) -> None:
    sending = publisher(broker, tmp_path)
    try:
        sending.prepare(0, 1)
        with pytest.raises(RuntimeError, match="nobody takes the readings"):
            await asyncio.to_thread(sending.send)
    finally:
        sending.close()
