"""A miniature of the pipeline rung, by the same code; and its verification, which must be able to fail."""

from collections.abc import Iterator

import httpx
import pytest
from wattfleet_bench.homes import SOCKETS, Homes, day_in_the_past_ms
from wattfleet_bench.rungs.pipeline import Pipeline, Run
from wattfleet_bench.shard_under_test import ShardUnderTest
from wattfleet_bench.verification import NotAsSent, Sent, require, verify
from wattfleet_tenants import series
from wattfleet_tenants.testing.waiting import wait_until

HOMES = Homes(50, day_in_the_past_ms())
MINUTES = 400
INVISIBLE_WITHIN_S = 20
WRONG_FOR_S = 1.0
"""How long a difference may last before it is called one, where one is expected."""


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardUnderTest]:
    with ShardUnderTest(tmp_path_factory.mktemp("shard"), HOMES, memory="256MB") as running:
        yield running


@pytest.fixture(scope="module")
def sent(shard: ShardUnderTest) -> Run:
    """20,000 messages through the real processes, each verified and settled."""
    pipeline = Pipeline(shard, shard.publisher(connections=2, window=2_000))
    run = pipeline.verified(pipeline.send(MINUTES))
    pipeline.settled()
    return run


def test_a_small_run_is_stored_exactly_and_settled(sent: Run) -> None:
    assert sent.sent.messages == 20_000
    assert sent.messages_per_s > 0
    assert set(sent.usage) == {"nats", "ingest", "writer", "store", "publisher"}
    assert sent.cpu_s_per_million() > sent.cpu_s_per_million("store") > 0


def test_a_paced_run_tells_its_backlog(shard: ShardUnderTest, sent: Run) -> None:
    pipeline = Pipeline(shard, shard.publisher(connections=1))
    pipeline.skip(MINUTES)
    run = pipeline.verified(pipeline.send(20, per_s=1_000))
    assert run.messages_per_s < 1_100
    assert run.backlog
    assert max(run.backlog) <= run.sent.messages


def test_a_message_that_was_never_sent_is_missed(shard: ShardUnderTest, sent: Run) -> None:
    more = Sent(HOMES, 1_000, 2)
    verified = verify(shard.store.url, more, compared_homes=1, visible_within_s=WRONG_FOR_S)
    assert verified.differences[0] == f"0 samples instead of {more.samples}"
    with pytest.raises(NotAsSent, match="2 missing, 0 that were not sent, 0 changed, 0 doubled"):
        require(verified)


def test_other_values_than_those_that_were_sent_are_told(shard: ShardUnderTest, sent: Run) -> None:
    shifted = Homes(HOMES.count, HOMES.day_ms + 60_000)
    verified = verify(shard.store.url, Sent(shifted, 3, 10), compared_homes=2, visible_within_s=WRONG_FOR_S)
    assert len(verified.differences) == 2 * SOCKETS
    assert "0 missing, 0 that were not sent, 10 changed" in verified.differences[0]


def test_a_lost_sample_is_missed(shard: ShardUnderTest, sent: Run) -> None:
    gone = HOMES.households()[7]
    query = f'{series.POWER}{{household="{gone}",socket="9"}}'
    httpx.post(f"{shard.store.url}/api/v1/admin/tsdb/delete_series", data={"match[]": query}).raise_for_status()
    expected = f"{sent.sent.samples - MINUTES} samples instead of {sent.sent.samples}"

    def missed() -> bool:
        found = verify(shard.store.url, sent.sent, compared_homes=HOMES.count, visible_within_s=0)
        return found.differences == (
            expected,
            f"{HOMES.count * SOCKETS - 1} series instead of {HOMES.count * SOCKETS}",
            f"home {gone} socket 9: {MINUTES} missing, 0 that were not sent, 0 changed, 0 doubled",
        )

    wait_until(missed, INVISIBLE_WITHIN_S, "the deleted series, and nothing else, is missed")
