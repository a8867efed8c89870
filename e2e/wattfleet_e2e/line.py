"""A way to somewhere that can be cut, as a machine that dies does it, or fall silent, as one that forgets does."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Self

from wattfleet_e2e.place import LOOPBACK

_AT_ONCE_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Call:
    """One connection: who called, and who was called."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    silent: bool = False


class Line:
    """Connections to `port` of 127.0.0.1 arrive at `target` there; `async with` opens it."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._calls: set[_Call] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def mend(self) -> None:
        """Connections arrive again."""
        self._server = await asyncio.start_server(self._called, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Resets every connection and refuses all that come, until `mend`."""
        if self._server is not None:
            self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def silence(self) -> None:
        """Not a byte arrives any more on the connections that there are, and no word of an end; new ones work."""
        for call in self._calls:
            call.silent = True

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    def _called(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._answer(near_reader, near))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            _reset(near)
            return
        call = _Call(near, far)
        self._calls.add(call)
        try:
            await asyncio.gather(_carry(near_reader, far, call), _carry(far_reader, near, call))
        finally:
            self._calls.discard(call)
            _reset(near)
            _reset(far)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: _Call) -> None:
    """What comes goes on, the end included, unless the call is silent."""
    try:
        while data := await reader.read(_AT_ONCE_BYTES):
            if not call.silent:
                writer.write(data)
                await writer.drain()
        if not call.silent:
            writer.write_eof()
    except (OSError, RuntimeError):
        _reset(call.near)
        _reset(call.far)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a machine does that knows nothing of it: with RST."""
    there: socket.socket | None = writer.get_extra_info("socket")
    if there is not None and there.fileno() >= 0:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
