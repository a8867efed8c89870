"""The broker's adapter against a real nats-server in operator mode, as the platform starts it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_broker import NatsBroker
from wattfleet_operator.adapters.nats_connections import NatsConnections
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.credential import read_credential, token_in
from wattfleet_operator.embedded.free_ports import FreePorts
from wattfleet_operator.embedded.nats_server import nats_process
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.errors import NotYet
from wattfleet_operator.vault_names import (
    gateway_credential,
    ingest_credential,
    ingest_edge_credential,
    writer_credential,
)
from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.assignments import WatchedAssignments, quota_in
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.credentials import claims_of, deletion_token
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.permissions import Permissions
from wattfleet_tenants.quota import DEFAULT_QUOTA, Quota
from wattfleet_tenants.shard import ShardId, parse_shard_id
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.testing.waiting import eventually

S1 = ShardId("s1")


@dataclass
class Nats:
    """A running server and the operator's door to it."""

    supervisor: Supervisor
    vault: FolderVault
    broker: NatsBroker
    process: Process

    @property
    def identities(self) -> NatsIdentities:
        return NatsIdentities(self.vault)

    async def connect(
        self, credentials: str, on_disconnect: Callable[[], None] = lambda: None, inbox: str | None = None
    ) -> Client:
        async def told(*_: object) -> None:
            on_disconnect()

        client = Client()
        try:
            await client.connect(
                list(self.broker.servers),
                user_credentials=RawCredentials(credentials),
                allow_reconnect=False,
                error_cb=told,
                disconnected_cb=told,
                inbox_prefix=inbox or subjects.agent_inbox(HouseholdId(_name_in(credentials))),
            )
        except BaseException:
            await client.close()
            raise
        return client


def _name_in(credentials: str) -> str:
    return str(claims_of(token_in(credentials))["name"])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Nats]:
    vault = FolderVault(tmp_path / "vault")
    port = FreePorts(tmp_path / "ports.json").port("nats")
    broker = NatsBroker((f"nats://127.0.0.1:{port}",), vault)
    async with Supervisor(tmp_path) as supervisor:
        process = await nats_process(NatsIdentities(vault), port, tmp_path / "nats")
        await supervisor.ensure(process)
        await supervisor.ready("nats", 10)
        yield Nats(supervisor, vault, broker, process)
        await broker.close()


async def shard_is_there(server: Nats) -> None:
    await server.broker.ensure_accounts(S1)
    await server.broker.ensure_streams(S1)


async def test_a_household_reaches_the_ingest_of_its_shard_and_nothing_else(
    server: Nats, household: HouseholdId
) -> None:
    await shard_is_there(server)
    agent = await server.connect((await server.broker.mint(S1, household, renewed=None)).text)
    with pytest.raises(nats.errors.NoRespondersError):
        await agent.request(subjects.measurements(S1, household), b"x", timeout=2)
    ingest = await server.connect(await server.vault.keep(ingest_edge_credential(S1), str), inbox="_INBOX_ingest")
    replies: list[str] = []

    async def answer(message: Msg) -> None:
        replies.append(message.reply)
        await ingest.publish(message.reply, b"ok")

    async def answered() -> bytes:
        try:
            return (await agent.request(subjects.measurements(S1, household), b"x", timeout=2)).data
        except nats.errors.NoRespondersError:
            return b""

    await ingest.subscribe(subjects.all_measurements(S1), queue=subjects.INGEST_QUEUE, cb=answer)
    assert await eventually(answered, 5, "the ingest answers") == b"ok"
    assert replies[0].startswith(f"{subjects.agent_inbox(household)}.")
    await agent.close()
    await ingest.close()


async def bundle_arrives(server: Nats, lane: Lane) -> None:
    """One bundle is published as the ingest does."""
    ingest = await server.connect(await server.vault.keep(ingest_credential(S1), str), inbox="_INBOX_ingest")
    await ingest.jetstream().publish(subjects.bundles(S1, lane, "run1"), b"x")
    await ingest.close()


async def settle_one(server: Nats, lane: Lane) -> None:
    """The oldest bundle of a lane is taken as the writer does."""
    async with server.broker._nats.jetstream(S1) as js:
        consumer = await js.pull_subscribe_bind(subjects.WRITER_CONSUMER, subjects.bundle_stream(S1, lane))
        (message,) = await consumer.fetch(1, timeout=5)
        await message.ack_sync()


@pytest.mark.parametrize("lane", list(Lane))
async def test_what_waited_when_a_household_left_is_told_from_what_came_later(
    server: Nats, household: HouseholdId, lane: Lane
) -> None:
    await shard_is_there(server)
    assert await server.broker.leave(S1, household) is None, "it never came"
    await server.broker.assign(S1, household, DEFAULT_QUOTA)
    assert await server.broker.oldest_waiting(S1) is None
    await bundle_arrives(server, lane)
    left = await server.broker.leave(S1, household)
    oldest = await server.broker.oldest_waiting(S1)
    assert left is not None
    assert oldest is not None
    assert oldest < left == await server.broker.leave(S1, household), "it leaves once"
    await bundle_arrives(server, lane)
    await settle_one(server, lane)
    later = await server.broker.oldest_waiting(S1)
    assert later is not None
    assert later > left
    await settle_one(server, lane)
    assert await server.broker.oldest_waiting(S1) is None


async def test_a_household_that_leaves_is_assigned_until_it_is_unassigned_and_may_come_back(
    server: Nats, household: HouseholdId
) -> None:
    await shard_is_there(server)
    await server.broker.assign(S1, household, DEFAULT_QUOTA)
    first = await server.broker.leave(S1, household)
    async with server.broker._nats.jetstream(S1) as js:
        assert await (await js.key_value(subjects.HOUSEHOLDS_BUCKET)).get(household), "the writer still takes it"
    await server.broker.assign(S1, household, DEFAULT_QUOTA)
    second = await server.broker.leave(S1, household)
    assert first is not None
    assert second is not None
    assert first < second
    await server.broker.unassign(S1, household)
    assert await server.broker.leave(S1, household) is None


async def test_only_one_households_quarantine_is_purged(server: Nats, household: HouseholdId) -> None:
    await shard_is_there(server)
    other = mint_household_id()
    stream = subjects.quarantine_stream(S1)
    async with server.broker._nats.jetstream(S1) as js:
        for sender in (household, other):
            await js.publish(subjects.quarantine(S1, sender, "future"), b"x", stream=stream)
        await server.broker.purge_quarantine(S1, household)
        info = await js.stream_info(stream, subjects_filter=">")
    assert info.state.subjects == {subjects.quarantine(S1, other, "future"): 1}


async def test_what_lies_open_to_the_gateway_is_its_own_credential_alone(server: Nats, tmp_path: Path) -> None:
    await shard_is_there(server)
    credentials = {path.name: path for path in (tmp_path / "vault" / "edge").iterdir()}
    assert credentials.keys() == {"s1.creds"}
    assert credentials["s1.creds"].read_text() == await server.vault.keep(gateway_credential(S1), str)
    with pytest.raises(ValueError, match="not a shard id"):
        parse_shard_id("s1-ingest")


async def test_several_who_ask_at_once_ask_on_one_connection_and_it_is_closed(server: Nats) -> None:
    connections = NatsConnections(server.broker.servers, server.identities)
    ask_for_connections = ("$SYS.REQ.SERVER.PING.CONNZ", "{}")
    answers = await asyncio.gather(*[connections.ask_system(*ask_for_connections) for _ in range(5)])
    names = [one["name"] for one in json.loads(answers[-1])["data"]["connections"]]
    assert names == ["wattfleet-operator"]
    await connections.close()


async def test_ensuring_a_second_time_changes_nothing(server: Nats, tmp_path: Path) -> None:
    await shard_is_there(server)
    before = {p: p.read_bytes() for folder in ("vault", "nats/resolver") for p in (tmp_path / folder).rglob("*.*")}
    await asyncio.sleep(0)
    await shard_is_there(server)
    assert {p: p.read_bytes() for p in before} == before


async def test_a_revoked_household_is_cut_off_at_once_and_a_new_credential_lets_it_back(
    server: Nats, household: HouseholdId
) -> None:
    await shard_is_there(server)
    credential = await server.broker.mint(S1, household, renewed=None)
    assert await server.broker.accepts(S1, credential)
    cut_off = asyncio.Event()
    await server.connect(credential.text, cut_off.set)
    await server.broker.revoke(S1, credential.user_key)
    await asyncio.wait_for(cut_off.wait(), 5)
    assert not await server.broker.accepts(S1, credential)
    with pytest.raises(nats.errors.Error):
        await server.connect(credential.text)
    await (await server.connect((await server.broker.mint(S1, household, renewed=None)).text)).close()


async def test_a_renewal_keeps_the_key_so_that_one_revocation_ends_both(server: Nats, household: HouseholdId) -> None:
    await shard_is_there(server)
    first = await server.broker.mint(S1, household, renewed=None)
    second = await server.broker.mint(S1, household, renewed=first)
    assert (second.user_key, second.seed) == (first.user_key, first.seed)
    await server.broker.revoke(S1, second.user_key)
    with pytest.raises(nats.errors.Error):
        await server.connect(first.text)


async def test_assignment_is_a_key_of_the_households_bucket_written_once(server: Nats, household: HouseholdId) -> None:
    await shard_is_there(server)
    await server.broker.unassign(S1, household)
    await server.broker.assign(S1, household, DEFAULT_QUOTA)
    await server.broker.assign(S1, household, DEFAULT_QUOTA)
    async with server.broker._nats.jetstream(S1) as js:
        bucket = await js.key_value(subjects.HOUSEHOLDS_BUCKET)
        assert (await bucket.get(household)).revision == 1
    await server.broker.unassign(S1, household)
    await server.broker.unassign(S1, household)
    await server.broker.assign(S1, household, DEFAULT_QUOTA)


async def test_a_quota_is_written_once_and_once_more_when_it_changed(server: Nats, household: HouseholdId) -> None:
    await shard_is_there(server)
    few, fewer = Quota(sockets=30, backlog_days=3), Quota(sockets=20)
    seen = []
    for quota in (few, few, fewer, fewer, DEFAULT_QUOTA, DEFAULT_QUOTA, few):
        await server.broker.assign(S1, household, quota)
        async with server.broker._nats.jetstream(S1) as js:
            entry = await (await js.key_value(subjects.HOUSEHOLDS_BUCKET)).get(household)
        assert quota_in(entry.value or b"") == quota
        seen.append(entry.revision)
    assert seen == [1, 1, 2, 2, 3, 3, 4]


@asynccontextmanager
async def following(server: Nats, folder: Path, credential: str, inbox: str) -> AsyncIterator[WatchedAssignments]:
    """What one of the shard's processes hears of its households."""
    creds = folder / "following.creds"
    creds.write_text(await server.vault.keep(credential, str))
    connection = NatsConnection()
    await connection.connect_to(list(server.broker.servers), creds, "following", inbox)
    assignments = WatchedAssignments(connection)
    watching = asyncio.create_task(assignments.keep_watching())
    try:
        await asyncio.wait_for(assignments.loaded.wait(), 10)
        yield assignments
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await connection.close()


@pytest.mark.parametrize(
    ("role", "inbox"),
    [(ingest_credential, subjects.INGEST_INBOX), (writer_credential, subjects.WRITER_INBOX)],
    ids=["ingest", "writer"],
)
async def test_what_the_operator_assigns_is_heard_by_those_who_hold_homes_to_it(
    server: Nats, household: HouseholdId, tmp_path: Path, role: Callable[[ShardId], str], inbox: str
) -> None:
    await shard_is_there(server)
    other, few, fewer = mint_household_id(), Quota(sockets=30, backlog_days=3), Quota(sockets=20)
    await server.broker.assign(S1, household, few)
    await server.broker.assign(S1, other, DEFAULT_QUOTA)
    async with following(server, tmp_path, role(S1), inbox) as heard:

        async def hears(quotas: dict[HouseholdId, Quota]) -> None:
            await eventually(lambda: heard.quotas == quotas, 20, f"{quotas} are heard of")

        await hears({household: few})
        await server.broker.assign(S1, household, fewer)
        await hears({household: fewer})
        await server.broker.leave(S1, household)
        await server.broker.assign(S1, other, few)
        await hears({household: fewer, other: few})
        await server.supervisor.stop("nats")
        await server.supervisor.ensure(server.process)
        await server.supervisor.ready("nats", 10)
        await server.broker.unassign(S1, household)
        await hears({other: few})
        await server.broker.assign(S1, other, DEFAULT_QUOTA)
        await hears({})


async def test_of_a_removed_shard_nothing_is_left_and_one_of_its_name_can_come(server: Nats, tmp_path: Path) -> None:
    for _ in range(8):  # more often than the server has room for a shard's streams
        await shard_is_there(server)
        credentials = [await server.vault.keep(name(S1), str) for name in (gateway_credential, writer_credential)]
        for credential in credentials:
            await (await server.connect(credential)).close()
        await server.broker.remove(S1)
        for credential in credentials:
            with pytest.raises(nats.errors.Error):
                await server.connect(credential)
        kept = [path.name for path in (tmp_path / "vault").rglob("*") if path.is_file()]
        assert sorted(kept) == ["operator.seed", "system.seed"]
    assert not list((tmp_path / "nats" / "jetstream").rglob("*.blk"))
    await server.broker.remove(S1)


async def test_a_shard_that_is_removed_a_second_time_after_a_crash_is_gone(server: Nats) -> None:
    await shard_is_there(server)
    edge, ing = await server.identities.edge(S1), await server.identities.ing(S1)
    token = deletion_token(await server.identities.operator(), [ing.public_key])
    await server.broker._nats.delete_accounts(token)
    await server.broker.remove(S1)
    assert await server.broker._in_force(edge) == ""


async def test_a_killed_server_is_not_yet_there_and_afterwards_everything_still_is(
    server: Nats, household: HouseholdId
) -> None:
    await shard_is_there(server)
    await server.broker.assign(S1, household, DEFAULT_QUOTA)
    await server.supervisor.stop("nats")
    with pytest.raises(NotYet) as caught:
        await server.broker.ensure_streams(S1)
    assert caught.value.reason == "BrokerUnavailable"
    await server.supervisor.ensure(server.process)
    await server.supervisor.ready("nats", 10)

    async def assigned() -> bool:
        try:
            async with server.broker._nats.jetstream(S1) as js:
                return (await (await js.key_value(subjects.HOUSEHOLDS_BUCKET)).get(household)).revision == 1
        except NotYet:
            return False

    await eventually(assigned, 10, "the assignment survived")


async def test_a_changed_role_gets_a_new_token_for_the_key_that_it_had(server: Nats) -> None:
    await shard_is_there(server)
    name = writer_credential(S1)
    kept = await server.vault.keep(name, str)
    identities = NatsIdentities(server.vault)
    await identities.ensure_user(name, await identities.ing(S1), Permissions(publish=("q.>",), subscribe=()))
    changed = await server.vault.keep(name, str)
    assert changed != kept
    await server.broker.ensure_accounts(S1)
    assert changed.splitlines()[-2] == kept.splitlines()[-2]  # the seed


def test_a_text_that_is_no_credential_is_refused() -> None:
    with pytest.raises(ValueError, match="no NATS credential"):
        read_credential("-----BEGIN NATS USER JWT-----")
