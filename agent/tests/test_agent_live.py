import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from agent_helpers import KEYS, agent, home_file
from nats.aio.client import Client
from nats.aio.msg import Msg
from wattfleet_agent.live import MOST_LEASES, BadCommand, Commands, Live
from wattfleet_agent.sensors import Sample
from wattfleet_tenants import grants, subjects
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.permissions import LIVE_LEASE_S, LIVE_MESSAGES_PER_LEASE
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire import codec

REPLY = f"{subjects.GATEWAY_INBOX}.abc.1"


def home_of(household: HouseholdId) -> HomeFile:
    return HomeFile(household, ShardId("s1"), (), "", KEYS.public_pem)


def command(household: HouseholdId, lifetime_s: int = LIVE_LEASE_S, private_pem: str = KEYS.private_pem) -> bytes:
    return grants.sign(private_pem, "agent", household, lifetime_s).encode()


def refusal(home: HomeFile, token: bytes, reply: str = REPLY) -> str:
    with pytest.raises(BadCommand) as raised:
        Commands().check(home, token, reply)
    return str(raised.value)


def test_commands_that_the_gateway_did_not_give_to_this_home_are_not_obeyed(household: HouseholdId) -> None:
    home = home_of(household)
    assert refusal(home, command(household, private_pem=grants.generate_signing_keys().private_pem)) == "not-granted"
    assert refusal(home, command(household, lifetime_s=-60)) == "not-granted"
    assert refusal(home, command(mint_household_id())) == "not-granted"
    assert refusal(home, grants.sign(KEYS.private_pem, "reader", household, 30).encode()) == "not-granted"
    assert refusal(home, b"ok") == "not-granted"
    assert refusal(home, b"") == "not-granted"
    assert refusal(home, b"\xff\xfe") == "not-a-token"
    assert refusal(home, b"x" * 2000) == "not-a-token"


@pytest.mark.parametrize(
    "reply", ["", "_INBOX_gateway", "_INBOX_gatewayx.1", "m.s1.other", "_INBOX.h0123456789abcdefghij.x"]
)
def test_readings_go_to_the_gateways_inboxes_only(household: HouseholdId, reply: str) -> None:
    assert refusal(home_of(household), command(household), reply) == "reply-subject"


def test_a_command_is_obeyed_once(household: HouseholdId) -> None:
    now_s = [time.time()]
    commands, token = Commands(lambda: now_s[0]), command(household)
    commands.check(home_of(household), token, REPLY)
    for _ in range(2):
        with pytest.raises(BadCommand, match="repeated"):
            commands.check(home_of(household), token, REPLY)
    # A spent token is remembered for as long as it could be valid, and no longer.
    now_s[0] += LIVE_LEASE_S + 20
    commands.check(home_of(household), command(household), REPLY)
    assert len(commands._spent) == 1


class Wall:
    """A clock that the test turns."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def listening(broker: ShardBroker, household: HouseholdId, live: Live) -> AsyncIterator[tuple[Client, list[Msg]]]:
    """The gateway's connection, and what came to its inboxes, while `live` listens with an agent's rights."""
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    async with (
        broker.agent(household) as client,
        broker.connection(broker.gateway_creds, subjects.GATEWAY_INBOX) as gateway,
    ):
        await gateway.subscribe(f"{subjects.GATEWAY_INBOX}.>", cb=hear)
        await gateway.flush()
        await live.listen(client, home_of(household))
        await client.flush()
        yield gateway, heard


async def offer(live: Live, power_w: float) -> None:
    """One second of the sampler, sent by hand so that no test waits for a clock."""
    live.offer(round(time.time() * 1000), Sample((power_w, None)))
    await live.send_latest()


async def test_a_lease_gets_each_sample_and_ends_by_itself(broker: ShardBroker, household: HouseholdId) -> None:
    clock = Wall()
    live = Live(Commands(), clock)
    async with listening(broker, household, live) as (gateway, heard):
        await gateway.publish(subjects.commands(household), command(household), reply=REPLY)
        await eventually(lambda: live.leases == 1, 5, "the command arrives")
        for second in range(LIVE_LEASE_S + 5):
            await offer(live, float(second))
            clock.now_s += 1
        assert live.leases == 0
        await eventually(lambda: len(heard) >= LIVE_LEASE_S, 5, "readings arrive")
        readings = [codec.decode(message.data) for message in heard]
        assert [reading.power_w for reading in readings] == [(float(s), None) for s in range(LIVE_LEASE_S)]
        assert {reading.sequence for reading in readings} == {0}
        assert {message.subject for message in heard} == {REPLY}


async def test_a_lease_never_sends_more_than_its_permission_allows(broker: ShardBroker, household: HouseholdId) -> None:
    live = Live(Commands(), Wall())
    async with listening(broker, household, live) as (gateway, heard):
        await gateway.publish(subjects.commands(household), command(household), reply=REPLY)
        await eventually(lambda: live.leases == 1, 5, "the command arrives")
        for _ in range(LIVE_MESSAGES_PER_LEASE * 2):
            await offer(live, 1.0)
        await eventually(lambda: len(heard) >= LIVE_MESSAGES_PER_LEASE, 5, "readings arrive")
        # A renewal opens the permission again, for the same reply subject.
        await gateway.publish(subjects.commands(household), command(household), reply=REPLY)
        await eventually(lambda: len(heard) > LIVE_MESSAGES_PER_LEASE, 5, "the renewed lease is answered at once")
        assert len(heard) == LIVE_MESSAGES_PER_LEASE + 1


async def test_several_gateways_are_served_and_a_flood_of_leases_is_not(
    broker: ShardBroker, household: HouseholdId
) -> None:
    live = Live(Commands(), Wall())
    async with listening(broker, household, live) as (gateway, heard):
        for number in range(MOST_LEASES + 3):
            await gateway.publish(subjects.commands(household), command(household), reply=f"{REPLY}{number}")
        await gateway.flush()
        await eventually(lambda: live.newest_lease == f"{REPLY}{MOST_LEASES + 2}", 5, "all commands arrive")
        assert live.leases == MOST_LEASES
        await offer(live, 2.0)
        await eventually(lambda: len(heard) == MOST_LEASES, 5, "one reading each")
        assert {message.subject for message in heard} == {f"{REPLY}{n}" for n in range(3, MOST_LEASES + 3)}


async def test_bad_commands_get_no_answer_and_good_ones_still_do(broker: ShardBroker, household: HouseholdId) -> None:
    live = Live(Commands(), Wall())
    spent = command(household)
    async with listening(broker, household, live) as (gateway, heard):
        await gateway.publish(subjects.commands(household), spent, reply=REPLY)
        for bad in (spent, command(mint_household_id()), command(household, -60), b"\x00", b""):
            await gateway.publish(subjects.commands(household), bad, reply=f"{REPLY}.bad")
        await gateway.publish(subjects.commands(household), command(household), reply=f"{REPLY}.good")
        await eventually(lambda: live.leases == 2, 5, "the last command arrives")
        await offer(live, 3.0)
        await eventually(lambda: len(heard) == 2, 5, "two leases, two readings")
        assert {message.subject for message in heard} == {REPLY, f"{REPLY}.good"}


async def test_a_running_agent_answers_within_two_seconds_and_every_second(
    broker: ShardBroker, household: HouseholdId, tmp_path: Path
) -> None:
    home = home_file(broker, household, tmp_path)
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    async with agent(tmp_path, "run", "--home", home, "--sensor", "simulated:family") as running:
        await eventually(lambda: running.lines("connected"), 15, "the agent connects")
        async with broker.connection(broker.gateway_creds, subjects.GATEWAY_INBOX) as gateway:
            await gateway.subscribe(f"{subjects.GATEWAY_INBOX}.>", cb=hear)
            await gateway.publish(subjects.commands(household), command(household), reply=REPLY)
            await eventually(lambda: heard, 4, "the first live reading")
            await eventually(lambda: len(heard) >= 3, 6, "one each second")
        readings = [codec.decode(message.data) for message in heard]
        assert all(len(reading.power_w) == 6 for reading in readings)
        times = [reading.interval_start_ms for reading in readings]
        assert all(500 < later - earlier < 2500 for earlier, later in pairwise(times))
        running.process.terminate()
        assert await running.ends(2.5) == 0
