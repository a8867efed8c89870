"""The gateway and an agent over a real broker, each with exactly its own rights."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway_fakes import FakeFleet, FakeHistory
from wattfleet_gateway.edge import EdgeUnavailable, NatsEdge
from wattfleet_gateway.fleet import Placement
from wattfleet_gateway.live import LiveHomes, LiveReading, Pace
from wattfleet_tenants import grants, subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.grants import SigningKeys
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.permissions import LIVE_LEASE_S
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire import codec

SOON_S = 10.0


class Agent:
    """Answers each valid command with one reading of its own power."""

    def __init__(self, broker: ShardBroker, household: HouseholdId, power_w: float, key: str) -> None:
        self._broker, self.household, self._power_w, self._key = broker, household, power_w, key
        self.commands = 0
        self.errors: list[str] = []
        self._folder = broker.gateway_creds.parent

    async def start(self) -> None:
        credentials = self._folder / f"{self.household}.creds"
        credentials.write_text(self._broker.household_credentials(self.household))
        self.client = NatsConnection()
        inbox = subjects.agent_inbox(self.household)
        await self.client.connect_to([self._broker.url], credentials, "agent", inbox)
        self.client._error_cb = self._note
        await self.client.subscribe(subjects.commands(self.household), cb=self._obey)
        await self.client.flush()

    async def stop(self) -> None:
        await self.client.close()

    async def _note(self, error: Exception) -> None:
        self.errors.append(str(error))

    async def _obey(self, message) -> None:
        grants.verify(self._key, "agent", self.household, message.data.decode())
        self.commands += 1
        self.reply = message.reply
        await self.answer(message.reply)

    async def answer(self, subject: str) -> None:
        reading = HomeReadings(0, int(time.time() * 1000), (self._power_w,))
        await self.client.publish(subject, codec.encode(reading))


@pytest.fixture
def placement(broker: ShardBroker) -> Placement:
    return Placement("Etc/UTC", True, "Ready", broker.shard, None, (broker.url,))


@pytest_asyncio.fixture
async def edge(broker: ShardBroker, tmp_path: Path) -> AsyncIterator[NatsEdge]:
    (tmp_path / f"{broker.shard}.creds").write_text(broker.gateway_creds.read_text())
    async with NatsEdge(tmp_path) as edge:
        yield edge


def live_homes(edge: NatsEdge, placement: Placement, keys: SigningKeys) -> LiveHomes:
    fleet = FakeFleet()
    fleet.placements.default_factory = lambda: placement
    pace = Pace(lease=2.0, renew=0.5, silence=0.5, fall_back=0.5, ask_again=0.5)
    return LiveHomes(
        fleet, edge, FakeHistory(), lambda home: grants.sign(keys.private_pem, "agent", home, LIVE_LEASE_S), pace
    )


async def live_power_w(readings: "asyncio.Queue[LiveReading]") -> float | None:
    async with asyncio.timeout(SOON_S):
        while (reading := await readings.get()).source != "live":
            pass
        return reading.power_w


async def test_each_viewer_sees_their_own_home_over_a_real_broker(
    broker: ShardBroker, edge: NatsEdge, placement: Placement, signing_keys: SigningKeys
) -> None:
    mine = Agent(broker, mint_household_id(), 111.0, signing_keys.public_pem)
    theirs = Agent(broker, mint_household_id(), 999.0, signing_keys.public_pem)
    await mine.start()
    await theirs.start()
    live = live_homes(edge, placement, signing_keys)
    async with live.watch(mine.household, 1) as my_readings, live.watch(theirs.household, 2) as their_readings:
        for _ in range(3):
            assert await live_power_w(my_readings) == 111.0
            assert await live_power_w(their_readings) == 999.0
    await mine.stop()
    await theirs.stop()


async def test_an_agent_cannot_answer_where_it_was_not_asked(
    broker: ShardBroker, edge: NatsEdge, placement: Placement, signing_keys: SigningKeys
) -> None:
    """Even when it learns the inbox of somebody else's lease, the broker refuses it."""
    mine = Agent(broker, mint_household_id(), 111.0, signing_keys.public_pem)
    mallory = Agent(broker, mint_household_id(), -1.0, signing_keys.public_pem)
    await mine.start()
    await mallory.start()
    heard: list[bytes] = []
    command = grants.sign(signing_keys.private_pem, "agent", mine.household, LIVE_LEASE_S).encode()
    async with edge.lease(placement, mine.household, command, heard.append):
        await eventually(lambda: heard, SOON_S, "the agent's own answer comes")
        await mallory.answer(mine.reply)
        await eventually(lambda: "permissions violation" in str(mallory.errors).lower(), SOON_S, "it is refused")
        await mine.answer(mine.reply)
        await eventually(lambda: len(heard) == 2, SOON_S, "the agent goes on")
    assert {codec.decode(message).power_w for message in heard} == {(111.0,)}
    await mine.stop()
    await mallory.stop()


async def test_a_home_cannot_make_the_gateway_deaf(
    broker: ShardBroker, edge: NatsEdge, placement: Placement, signing_keys: SigningKeys
) -> None:
    """Headers that cannot be parsed once ended the reading of everybody's messages."""
    mine = Agent(broker, mint_household_id(), 111.0, signing_keys.public_pem)
    mallory = Agent(broker, mint_household_id(), -1.0, signing_keys.public_pem)
    await mine.start()
    await mallory.start()
    live = live_homes(edge, placement, signing_keys)
    async with live.watch(mallory.household, 2) as theirs, live.watch(mine.household, 1) as readings:
        await live_power_w(theirs)
        for headers in (b"NATS/1.0\r\n\xff\xfe\r\n\r\n", b"\r\n", b"NATS/1.0 xyz\r\n: \r\n\r\n"):
            size = len(headers)
            command = f"HPUB {mallory.reply} {size} {size}\r\n".encode()
            await mallory.client._send_command(command + headers + b"\r\n")
        await mallory.client.flush()
        commands = mine.commands
        await eventually(lambda: mine.commands >= commands + 2, SOON_S, "the home is asked again, twice")
        while not readings.empty():
            readings.get_nowait()
        assert await live_power_w(readings) == 111.0
    await mine.stop()
    await mallory.stop()


async def test_an_agent_that_comes_back_is_asked_again(
    broker: ShardBroker, edge: NatsEdge, placement: Placement, signing_keys: SigningKeys
) -> None:
    agent = Agent(broker, mint_household_id(), 5.0, signing_keys.public_pem)
    live = live_homes(edge, placement, signing_keys)
    async with live.watch(agent.household, 1) as readings:
        assert agent.commands == 0
        await agent.start()
        assert await live_power_w(readings) == 5.0
    await agent.stop()


async def test_a_broker_that_was_killed_is_found_again(
    broker: ShardBroker, edge: NatsEdge, placement: Placement, signing_keys: SigningKeys
) -> None:
    agent = Agent(broker, mint_household_id(), 5.0, signing_keys.public_pem)
    await agent.start()
    live = live_homes(edge, placement, signing_keys)
    async with live.watch(agent.household, 1) as readings:
        assert await live_power_w(readings) == 5.0
        broker.server.kill()
        commands = agent.commands
        broker.start()
        await eventually(lambda: agent.commands > commands, 3 * SOON_S, "the agent is asked again")
        while not readings.empty():
            readings.get_nowait()
        assert await live_power_w(readings) == 5.0
    await agent.stop()


async def test_a_broker_that_is_not_there_is_said_to_be_unavailable(
    broker: ShardBroker, edge: NatsEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattfleet_gateway.edge._CONNECT_TIMEOUT_S", 0.5)
    nobody = Placement("Etc/UTC", True, "Ready", broker.shard, None, (f"nats://127.0.0.1:{free_port()}",))
    with pytest.raises(EdgeUnavailable):
        async with edge.lease(nobody, mint_household_id(), b"", lambda _: None):
            pass


async def test_a_household_that_is_placed_nowhere_cannot_be_asked(edge: NatsEdge) -> None:
    with pytest.raises(EdgeUnavailable):
        async with edge.lease(Placement(), mint_household_id(), b"", lambda _: None):
            pass
