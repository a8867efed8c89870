"""The operator's connections when a server is gone without a word, as one whose node has lost its power."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wattfleet_operator.adapters import nats_connections
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_broker import NatsBroker
from wattfleet_operator.adapters.nats_connections import NatsConnections
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.embedded.free_ports import FreePorts
from wattfleet_operator.embedded.nats_server import nats_process
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.errors import NotYet
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.waiting import eventually

S1 = ShardId("s1")


class Door:
    """A way to a server that can swallow everything on the connections that are open, and close none of them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ways: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> int:
        """Returns the port that leads to the server."""
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        self.swallow()
        self._server.close()
        for writer in self._writers:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def swallow(self) -> None:
        for way in self._ways:
            way.cancel()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, there_writer]
        ways = ((reader, there_writer), (there_reader, writer))
        self._ways += [asyncio.create_task(_pass_on(*way)) for way in ways]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    port = FreePorts(tmp_path / "ports.json").port("nats")
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.ensure(await nats_process(NatsIdentities(FolderVault(tmp_path / "vault")), port, tmp_path))
        await supervisor.ready("nats", 10)
        door = Door(port)
        yield door
        await door.close()


async def test_a_connection_whose_server_is_gone_without_a_word_is_replaced(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_connections, "_PING_EVERY_S", 1)
    broker = NatsBroker((f"nats://127.0.0.1:{await door.open()}",), FolderVault(tmp_path / "vault"))
    await broker.ensure_accounts(S1)
    door.swallow()
    with pytest.raises(NotYet):
        await broker.ensure_accounts(S1)

    async def answers() -> bool:
        try:
            await broker.ensure_accounts(S1)
        except NotYet:
            return False
        return True

    await eventually(answers, 20, "the operator has another connection")
    await broker.close()


async def test_of_several_who_wait_for_a_server_that_says_nothing_one_tries(tmp_path: Path) -> None:
    tries: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(writer)
        await reader.read()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connections = NatsConnections((url,), NatsIdentities(FolderVault(tmp_path)))

        async def ask() -> None:
            with pytest.raises(NotYet, match="NATS"):
                await connections.ask_system("$SYS.REQ.SERVER.PING", "")

        await ask()
        tries_of_one = len(tries)
        await asyncio.gather(*[ask() for _ in range(4)])
        assert len(tries) == 2 * tries_of_one
        await connections.close()
        for writer in tries:
            writer.close()
