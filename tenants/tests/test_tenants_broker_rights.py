"""What a home, a writer, a reader and the gateway can do at a real broker, and what they cannot."""

import asyncio
from contextlib import AbstractAsyncContextManager

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.data_plane import IngestProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire import bundle, receipts


class Refusals:
    """Permission errors that a connection is told."""

    def __init__(self, client: Client) -> None:
        self.told: list[str] = []
        client._error_cb = self._listen

    async def _listen(self, error: Exception) -> None:
        self.told.append(str(error).lower())

    async def of_publishing(self, client: Client, subject: str, reply: str = "") -> bool:
        """Whether the broker refuses to take a message to `subject`."""
        self.told.clear()
        await client.publish(subject, b"{}", reply=reply)
        await client.flush()
        return any("publish" in one for one in self.told)

    async def of_subscribing(self, client: Client, subject: str) -> bool:
        """Whether the broker refuses to let it listen to `subject`."""
        self.told.clear()
        await client.subscribe(subject)
        await client.flush()
        return any("subscription" in one for one in self.told)


async def test_a_reading_is_taken_and_confirmed_to_its_sender(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId
) -> None:
    async with broker.agent(household) as agent:
        answer = await agent.request(subjects.measurements(broker.shard, household), message(), timeout=5)
    assert answer.data == receipts.ACKNOWLEDGED
    assert await broker.pending() == 1


async def test_a_home_can_send_nowhere_but_to_its_own_subject(broker: ShardBroker, household: HouseholdId) -> None:
    other = mint_household_id()
    forbidden = (
        f"m.{broker.shard}.{other}",
        f"m.{broker.shard}",
        f"m.{broker.shard}.{household}.more",
        f"m.{broker.shard}.*",
        f"c.{other}",
        f"c.{household}",
        f"q.{broker.shard}.{household}.future",
        f"b.{broker.shard}.live.{household}",
        f"{subjects.GATEWAY_INBOX}.anything",
        f"{subjects.agent_inbox(other)}.anything",
        "$JS.API.STREAM.PURGE.M-s1-live",
        "$JS.API.INFO",
        f"$KV.{subjects.HOUSEHOLDS_BUCKET}.{household}",
        f"$JS.API.DIRECT.GET.KV_{subjects.HOUSEHOLDS_BUCKET}",
        "$SYS.REQ.CLAIMS.UPDATE",
        "anything",
    )
    async with broker.agent(household) as agent:
        refusals = Refusals(agent)
        for subject in forbidden:
            assert await refusals.of_publishing(agent, subject), subject
        assert not await refusals.of_publishing(agent, f"m.{broker.shard}.{household}")


async def test_a_home_can_listen_to_nothing_but_its_own_subjects(broker: ShardBroker, household: HouseholdId) -> None:
    other = mint_household_id()
    forbidden = (
        ">", "*.*", "m.>", f"m.{broker.shard}.{household}", f"c.{other}", "c.*", "c.>", "q.>", "_INBOX.>", "$JS.>",
        "$SYS.>", f"{subjects.agent_inbox(other)}.>", f"{subjects.GATEWAY_INBOX}.>", f"{subjects.WRITER_INBOX}.>",
        "m.*.*", "b.>", f"{subjects.INGEST_INBOX}.>",
    )  # fmt: skip
    async with broker.agent(household) as agent:
        refusals = Refusals(agent)
        for subject in forbidden:
            assert await refusals.of_subscribing(agent, subject), subject
        await agent.subscribe(subjects.all_measurements(broker.shard), queue=subjects.INGEST_QUEUE)
        await agent.flush()
        assert "subscription" in refusals.told[-1], "nor can it stand in for an ingest"
        for subject in (f"c.{household}", f"{subjects.agent_inbox(household)}.x"):
            assert not await refusals.of_subscribing(agent, subject), subject


async def test_a_home_cannot_fill_the_broker_with_subscriptions(broker: ShardBroker, household: HouseholdId) -> None:
    async with broker.agent(household) as agent:
        for number in range(100):
            await agent.subscribe(f"{subjects.agent_inbox(household)}.{number}")
        await eventually(lambda: "maximum subscriptions" in str(agent.last_error), 5, "the home is told")


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.API.STREAM.PURGE.M-s1-live",
        "$JS.API.CONSUMER.DELETE.M-s1-live.writer",
        "m.s1.{other}",
        "b.s1.live.run",
        "q.s1.{other}.future",
        "c.{other}",
        "_INBOX.{other}.anything",
        "_INBOX_gateway.anything",
    ],
)
async def test_a_chosen_reply_subject_reaches_nobody(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, reply: str
) -> None:
    """The ingest answers a home on that home's own inbox, or not at all."""
    other = mint_household_id()
    async with broker.agent(household) as agent, broker.agent(other) as victim, broker.operator() as operator:
        heard: list[str] = []

        async def hear(one: Msg) -> None:
            asks_itself = one.reply.startswith(f"{subjects.INGEST_INBOX}.")  # how far the streams are, once a second
            if not asks_itself:
                heard.append(one.subject)

        for subject in ("q.>", "$KV.>", "$JS.API.>", "m.>"):
            await operator.subscribe(subject, cb=hear)
        for subject in (subjects.commands(other), f"{subjects.agent_inbox(other)}.>"):
            await victim.subscribe(subject, cb=hear)
        await asyncio.gather(operator.flush(), victim.flush())
        own = subjects.measurements(broker.shard, household)
        await agent.publish(own, message(1), reply=reply.format(other=other))
        await agent.request(own, message(2), timeout=5)
        await asyncio.gather(operator.flush(), victim.flush())
        assert heard == []
        kept = 0
        for lane in subjects.Lane:
            stream = subjects.bundle_stream(broker.shard, lane)
            info = await operator.jetstream().stream_info(stream)
            for sequence in range(1, info.state.last_seq + 1):
                packed = bundle.decode((await operator.jetstream().get_msg(stream, sequence)).data or b"")
                assert {sender for sender, _ in packed.each()} == {household.encode()}
                kept += len(packed)
    assert kept == 2, "both are there, under the sender's own name"


async def test_a_live_command_may_be_answered_and_nothing_else(broker: ShardBroker, household: HouseholdId) -> None:
    async with broker.agent(household) as agent, broker.connection(broker.gateway_creds) as gateway:
        heard = await gateway.subscribe(f"{subjects.GATEWAY_INBOX}.>")
        commands = await agent.subscribe(subjects.commands(household))
        await asyncio.gather(gateway.flush(), agent.flush())
        await gateway.publish(subjects.commands(household), b"signed", reply=f"{subjects.GATEWAY_INBOX}.lease1")
        command = await commands.next_msg(timeout=5)
        for _ in range(3):
            await agent.publish(command.reply, b"reading")
        for _ in range(3):
            assert (await heard.next_msg(timeout=5)).data == b"reading"
        assert await Refusals(agent).of_publishing(agent, f"{subjects.GATEWAY_INBOX}.lease2")


def role(broker: ShardBroker, name: str) -> AbstractAsyncContextManager[Client]:
    creds, inbox = {
        "ingest": (broker.ingest_creds, subjects.INGEST_INBOX),
        "ingest-edge": (broker.ingest_edge_creds, subjects.INGEST_INBOX),
        "writer": (broker.writer_creds, subjects.WRITER_INBOX),
        "reader": (broker.reader_creds, subjects.READER_INBOX),
        "gateway": (broker.gateway_creds, subjects.GATEWAY_INBOX),
    }[name]
    return broker.connection(creds, inbox)


@pytest.mark.parametrize(
    ("who", "subject"),
    [
        ("writer", "m.s1.h0123456789abcdefghij"),
        ("writer", "$JS.API.STREAM.PURGE.M-s1-live"),
        ("writer", "$JS.API.STREAM.DELETE.Q-s1"),
        ("writer", "$JS.API.STREAM.UPDATE.M-s1-live"),
        ("writer", "$JS.API.STREAM.PURGE.KV_households"),
        ("writer", "$KV.households.h0123456789abcdefghij"),
        ("writer", "$JS.API.CONSUMER.CREATE.M-s1-live"),
        ("writer", "$JS.API.CONSUMER.CREATE.KV_households"),
        ("writer", "$JS.API.STREAM.MSG.DELETE.KV_households"),
        ("writer", "$JS.API.CONSUMER.DELETE.M-s1-live.writer"),
        ("writer", "q.s2.h0123456789abcdefghij.future"),
        ("reader", "$JS.API.CONSUMER.MSG.NEXT.M-s1-live.writer"),
        ("reader", "$JS.API.CONSUMER.CREATE.Q-s1"),
        ("reader", "$JS.API.STREAM.INFO.M-s1-live"),
        ("reader", "$JS.API.DIRECT.GET.M-s1-live.b.s1.live.run"),
        ("writer", "b.s1.live.run"),
        ("ingest", "b.s2.live.run"),
        ("ingest", "$JS.API.STREAM.PURGE.M-s1-live"),
        ("ingest", "$JS.API.CONSUMER.MSG.NEXT.M-s1-live.writer"),
        ("ingest", "$JS.ACK.M-s1-live.writer.1.1.1.1.1"),
        ("ingest", "$KV.ledger.live.run"),
        ("ingest", "$KV.households.h0123456789abcdefghij"),
        ("ingest", "$JS.API.STREAM.PURGE.KV_households"),
        ("ingest", "$JS.API.STREAM.MSG.DELETE.KV_households"),
        ("ingest", "$JS.API.CONSUMER.CREATE.KV_households"),
        ("ingest", "$JS.API.DIRECT.GET.KV_ledger"),
        ("reader", "$JS.API.DIRECT.GET.KV_households"),
        ("ingest-edge", "m.s1.h0123456789abcdefghij"),
        ("ingest-edge", "c.h0123456789abcdefghij"),
        ("ingest-edge", "_INBOX_gateway.x"),
        ("reader", "$JS.ACK.M-s1-live.writer.1.1.1.1.1"),
        ("reader", "q.s1.h0123456789abcdefghij.future"),
        ("gateway", "m.s1.h0123456789abcdefghij"),
        ("gateway", "_INBOX.h0123456789abcdefghij.x"),
        ("gateway", "$JS.API.INFO"),
    ],
)
async def test_services_can_send_no_more_than_they_need(broker: ShardBroker, who: str, subject: str) -> None:
    async with role(broker, who) as client:
        assert await Refusals(client).of_publishing(client, subject)


@pytest.mark.parametrize("who", ["ingest", "writer", "reader", "gateway"])
async def test_services_can_listen_to_their_own_inbox_only(broker: ShardBroker, who: str) -> None:
    async with role(broker, who) as client:
        refusals = Refusals(client)
        inboxes = {subjects.INGEST_INBOX, subjects.WRITER_INBOX, subjects.READER_INBOX, subjects.GATEWAY_INBOX}
        others = inboxes - {f"_INBOX_{who}"}
        for subject in (">", "m.>", "c.>", "_INBOX.>", "q.>", "$KV.>", *(f"{inbox}.>" for inbox in others)):
            assert await refusals.of_subscribing(client, subject), subject


@pytest.mark.parametrize("name", ["*", ">", "h*", "", "gateway"])
async def test_no_credential_is_made_out_to_what_is_no_household(broker: ShardBroker, name: str) -> None:
    with pytest.raises(ValueError, match="household id"):
        broker.household_credentials(name)


async def test_an_expired_credential_is_cut_off(broker: ShardBroker, household: HouseholdId) -> None:
    expired = broker.household_credentials(household, expires_at_s=1_700_000_000)
    with pytest.raises(nats.errors.Error, match="Authorization"):
        async with asyncio.timeout(5), broker.connection(expired):
            pass


async def test_what_waits_survives_a_killed_broker(broker: ShardBroker, household: HouseholdId) -> None:
    for sequence in range(20):
        await broker.publish_bundle((household, message(sequence + 1)))
    broker.server.kill()
    broker.server.start()

    async def all_there() -> bool:
        return await broker.pending() == 20

    await eventually(all_there, 10, "all confirmed messages are there again")
