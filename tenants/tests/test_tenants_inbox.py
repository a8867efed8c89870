"""What ends a pull and what is an error, and bundles that come before or after it."""

import pytest
from wattfleet_tenants.adapters.inbox import JetStreamInbox, _Pull
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.adapters.server_stream import RawMessage
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.shard import parse_shard_id
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire import bundle


@pytest.mark.parametrize(
    ("headers", "trouble"),
    [
        (b"NATS/1.0 404 No Messages\r\n\r\n", ""),
        (b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\n\r\n", ""),
        (b"NATS/1.0 408\r\n\r\n", ""),
        (b"NATS/1.0 409 Message Size Exceeds MaxBytes\r\n\r\n", ""),
        (b"NATS/1.0 409 Consumer Deleted\r\n\r\n", "409 Consumer Deleted"),
        (b"NATS/1.0 503\r\n\r\n", "503 nobody answers"),
        (b"", " nobody answers"),
        (b"\xff\xfe", " nobody answers"),
    ],
)
def test_a_status_ends_the_pull_and_says_when_that_is_no_good(headers: bytes, trouble: str) -> None:
    pull = _Pull("_INBOX.w.1")
    pull.stop(headers)
    assert pull.ended.is_set()
    assert pull.trouble == trouble


def bundled(number: int) -> RawMessage:
    content = bundle.encode(bundle.Bundle.of("run", number, 0, [bundle.household_column(b"h1")], [b"x"]))
    return RawMessage(b"b.s1.live.run", b"$JS.ACK.s.c.1.%d.1.1.7" % number, b"NATS/1.0\r\nA: b\r\n\r\n", content)


async def test_bundles_that_come_between_two_pulls_belong_to_the_next_and_other_pulls_statuses_end_nothing() -> None:
    inbox = JetStreamInbox(NatsConnection(), parse_shard_id("s1"), Lane.LIVE)
    inbox._replies = "_INBOX.w"
    inbox._arrive(bundled(1))
    pull = inbox._begin()
    inbox._arrive(bundled(2))
    inbox._arrive(RawMessage(b"_INBOX.w.99", b"", b"NATS/1.0 503\r\n\r\n", b""))
    assert not pull.ended.is_set()
    inbox._arrive(RawMessage(pull.reply.encode(), b"", b"NATS/1.0 404 No Messages\r\n\r\n", b""))
    assert pull.ended.is_set()
    inbox._arrive(RawMessage(b"b.s1.live.\xff", b"$JS.ACK", b"", b"no bundle"))
    assert [delivery.bundle.number for delivery in await inbox._end(pull)] == [1, 2]
    assert inbox.waiting == 7


async def test_a_pull_that_nobody_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattfleet_tenants.adapters.inbox._NO_STREAM_PAUSE_S", 0)
    inbox = JetStreamInbox(NatsConnection(), parse_shard_id("s1"), Lane.LIVE)
    pull = inbox._begin()
    pull.stop(b"NATS/1.0 503\r\n\r\n")
    with pytest.raises(Unavailable, match="503"):
        await inbox._end(pull)
