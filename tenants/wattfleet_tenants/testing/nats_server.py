"""A real nats-server in operator mode, with the two accounts of a shard, as the platform runs it.

Accounts are minted by the same functions as on the platform and lie in the full resolver's folder before the server
starts. `ShardBroker` hands out credentials of every role, and ensures streams, consumer and bucket.
"""

import json
import secrets
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from wattfleet_tenants import accounts, credentials, permissions, subjects
from wattfleet_tenants.adapters import jetstream
from wattfleet_tenants.adapters.assignments import assigned
from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.credentials import Identity, new_identity
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.permissions import Permissions
from wattfleet_tenants.quota import DEFAULT_QUOTA, Quota
from wattfleet_tenants.server_settings import BROKER_SETTINGS
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.builders import bundle_of
from wattfleet_tenants.testing.programs import Program, find_program, free_port
from wattfleet_tenants.wire.bundle import encode

_CONFIG = """
server_name: test
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor_port}
operator: {operator}
system_account: {system}
resolver: {{ type: full, dir: {resolver}, allow_delete: true, interval: "1m" }}
jetstream: {{ store_dir: {store}, sync_interval: always }}
{settings}write_deadline: "5s"
authorization: {{ timeout: 10 }}
"""
# Of its own accord it cuts off a client that has not signed in after two seconds, which a busy test machine may need.
_FAR_FUTURE_S = 4_000_000_000


class NatsServer(Program):
    """A server that knows the accounts given to it before its start."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.monitor_port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.operator = new_identity("operator")
        self._system = new_identity("account")
        self._folder = folder
        self._resolver = folder / "resolver"
        self._resolver.mkdir(parents=True)
        self.add_account(self._system, "SYS", {})
        super().__init__(
            [find_program("nats-server"), "-c", str(self._write_config())], folder / "nats-server.log", self._answers
        )

    def add_account(self, account: Identity, name: str, claims: credentials.Claims) -> None:
        """Makes the server know an account from its next start on."""
        token = credentials.account_token(self.operator, account.public_key, name, claims)
        (self._resolver / f"{account.public_key}.jwt").write_text(token)

    def creds(self, account: Identity, name: str, allowed: Permissions) -> Path:
        """A .creds file for a user of `account` with permissions of its own."""
        user = new_identity("user")
        token = credentials.user_token(account, account.public_key, user.public_key, name, allowed)
        return self._write_creds(name, credentials.creds_file(token, user))

    def system_creds(self) -> Path:
        """A .creds file of the system account, which may push accounts to the server."""
        return self.creds(self._system, "system", permissions.operator())

    def _write_creds(self, name: str, text: str) -> Path:
        path = self._folder / f"{name}.creds"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _write_config(self) -> Path:
        path = self._folder / "nats-server.conf"
        path.write_text(
            _CONFIG.format(
                port=self.port,
                monitor_port=self.monitor_port,
                operator=credentials.operator_token(self.operator, self._system.public_key),
                system=self._system.public_key,
                resolver=json.dumps(str(self._resolver)),
                store=json.dumps(str(self._folder / "jetstream")),
                settings=BROKER_SETTINGS,
            )
        )
        return path

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class ShardBroker:
    """One shard on a server of its own. Call `start` once, then `ensure` (again after the store was lost)."""

    def __init__(self, folder: Path, shard: ShardId = ShardId("s1")) -> None:  # noqa: B008 (a plain string)
        self.shard = shard
        self.server = NatsServer(folder)
        self.url = self.server.url
        self._ing, self._edge = new_identity("account"), new_identity("account")
        self._household_key = new_identity("account")
        self.server.add_account(self._ing, subjects.ing_account(shard), accounts.ing_claims())
        self.server.add_account(
            self._edge, subjects.edge_account(shard), accounts.edge_claims((self._household_key.public_key,))
        )
        self.ingest_creds = self.server.creds(self._ing, "ingest", permissions.ingest(shard))
        self.ingest_edge_creds = self.server.creds(self._edge, "ingest-edge", permissions.ingest_edge(shard))
        self.writer_creds = self.server.creds(self._ing, "writer", permissions.writer(shard))
        self.reader_creds = self.server.creds(self._ing, "reader", permissions.reader(shard))
        self.operator_creds = self.server.creds(self._ing, "operator", permissions.operator())
        self.gateway_creds = self.server.creds(self._edge, "gateway", permissions.gateway())

    def start(self) -> None:
        """Starts the server."""
        self.server.start()

    def edge_credentials(self, name: str, allowed: Permissions) -> Path:
        """A .creds file for a user of the EDGE account with permissions of its own, for load tests."""
        return self.server.creds(self._edge, name, allowed)

    def household_credentials(self, household: str, expires_at_s: int = _FAR_FUTURE_S) -> str:
        """The text of a .creds file for the agent of `household`."""
        user = new_identity("user")
        token = credentials.scoped_user_token(
            self._household_key, self._edge.public_key, user.public_key, household, expires_at_s
        )
        return credentials.creds_file(token, user)

    def home_file(self, household: HouseholdId, command_key: str = "") -> HomeFile:
        """What the agent of `household` is given. command_key: PEM of the key that signs its commands."""
        return HomeFile(household, self.shard, (self.url,), self.household_credentials(household), command_key)

    @asynccontextmanager
    async def connection(self, creds: Path | str, inbox: str = "_INBOX") -> AsyncIterator[Client]:
        """A connection with the credentials in a file, or given as text; `inbox` is its prefix of reply subjects."""
        if isinstance(creds, str):
            creds = self.server._write_creds(f"connection-{abs(hash(creds)):x}", creds)
        client = NatsConnection()
        try:
            await client.connect(self.url, user_credentials=str(creds), inbox_prefix=inbox, allow_reconnect=False)
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Client]:
        """A connection that may do everything in the shard's ING account."""
        async with self.connection(self.operator_creds) as client:
            yield client

    @asynccontextmanager
    async def agent(self, household: HouseholdId) -> AsyncIterator[Client]:
        """A connection with exactly the rights of the agent of `household`."""
        inbox = subjects.agent_inbox(household)
        async with self.connection(self.household_credentials(household), inbox) as client:
            yield client

    async def ensure(self, ack_wait_s: float = jetstream.ACK_WAIT_S) -> None:
        """Creates streams, consumer and bucket as the operator does."""
        async with self.operator() as client:
            js = client.jetstream()
            for lane in subjects.Lane:
                await js.add_stream(jetstream.bundle_stream(self.shard, lane))
                await js.add_consumer(subjects.bundle_stream(self.shard, lane), jetstream.writer_consumer(ack_wait_s))
            await js.add_stream(jetstream.quarantine_stream(self.shard))
            await js.create_key_value(jetstream.households_bucket())
            await js.create_key_value(jetstream.ledger_bucket())

    async def assign(self, *households: HouseholdId, quota: Quota = DEFAULT_QUOTA) -> None:
        """Makes the shard carry `households`, each with that quota."""
        async with self.operator() as client:
            bucket = await client.jetstream().key_value(subjects.HOUSEHOLDS_BUCKET)
            for household in households:
                await bucket.put(household, assigned(quota))

    async def unassign(self, household: HouseholdId) -> None:
        """Makes the shard carry `household` no longer."""
        async with self.operator() as client:
            bucket = await client.jetstream().key_value(subjects.HOUSEHOLDS_BUCKET)
            await bucket.delete(household)

    async def pending(self) -> int:
        """How many bundles are not acknowledged yet."""
        async with self.operator() as client:
            js = client.jetstream()
            try:
                infos = [await js.stream_info(subjects.bundle_stream(self.shard, lane)) for lane in subjects.Lane]
            except NotFoundError:
                return 0
            return sum(info.state.messages for info in infos)

    async def publish_bundle(self, *sent: tuple[HouseholdId, bytes], lane: subjects.Lane = subjects.Lane.LIVE) -> None:
        """Puts messages into a lane's stream as one bundle of a run of its own, as an ingest does."""
        run = secrets.token_hex(6)
        bundle = bundle_of([household.encode() for household, _ in sent], [message for _, message in sent], run)
        async with self.operator() as client:
            await client.jetstream().publish(subjects.bundles(self.shard, lane, run), encode(bundle))
