"""TCP for nats-py: read in large pieces, not too often, each handed on as it came.

asyncio's reader copies what arrives into its buffer and out of it again, and nats-py asks it for 32 kB at a time.
"""

import asyncio
from collections import deque
from typing import cast
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

READ_BYTES = 1024 * 1024
"""So much is read at a time at the most, and no more before that is taken. With nats-py's 32 kB, the ingest needed 3.0
instead of 2.7 us a message."""
_MUCH_BYTES = 8 * 1024


class WideTransport(TcpTransport):
    """nats-py's transport with a reader that copies nothing; once upgraded to TLS it reads as nats-py's own does.

    read_every_s: after a read of more than a few messages nothing is read for so long, so that more gathers; unless it
    brought as much as there can be.
    """

    def __init__(self, read_every_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._read_every_s = read_every_s

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:  # noqa: ARG002
        """Connects within `connect_timeout` seconds. Raises OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        reader = PieceReader(self._read_every_s)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        async with asyncio.timeout(connect_timeout):
            transport, _ = await loop.create_connection(lambda: protocol, str(uri.hostname), uri.port or 0)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # what it asks the socket for; 256 kB otherwise
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = asyncio.StreamWriter(transport, protocol, reader, loop)

    def __bool__(self) -> bool:
        return True


class PieceReader(asyncio.StreamReader):
    """What has arrived and was not read, piece by piece as the socket gave it. One task at a time reads."""

    def __init__(self, read_every_s: float = 0.0) -> None:
        super().__init__()
        self._read_every_s = read_every_s
        self._pieces: deque[bytes] = deque()
        self._source: asyncio.ReadTransport | None = None
        self._something = asyncio.Event()
        self._gathers = False

    def set_transport(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio: where pieces come from."""
        super().set_transport(transport)
        self._source = cast(asyncio.ReadTransport, transport)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # as asyncio calls it
        """Of asyncio: the next piece."""
        self._pieces.append(data)
        self._something.set()
        if self._source and sum(map(len, self._pieces)) >= READ_BYTES:
            self._source.pause_reading()

    def feed_eof(self) -> None:
        """Of asyncio: there was the last piece."""
        super().feed_eof()
        self._something.set()

    def set_exception(self, exc: Exception) -> None:
        """Of asyncio: the connection is lost."""
        super().set_exception(exc)
        self._something.set()

    def at_eof(self) -> bool:
        """Whether there will be no more to read."""
        return not self._pieces and super().at_eof()

    async def read(self, n: int = -1) -> bytes:  # noqa: ARG002
        """The next piece, whatever its size; empty at the end. Raises what the connection was lost for."""
        if self._gathers:
            await asyncio.sleep(self._read_every_s)
        while not self._pieces:
            if error := self.exception():
                raise error
            if self.at_eof():
                return b""
            self._something.clear()
            if self._source:
                self._source.resume_reading()
            await self._something.wait()
        piece = self._pieces.popleft()
        self._gathers = bool(self._read_every_s) and _MUCH_BYTES < len(piece) < READ_BYTES
        if self._gathers and self._source:
            self._source.pause_reading()
        return piece

    async def readline(self) -> bytes:
        """Up to the end of a line, or of all."""
        line = b""
        while b"\n" not in line and (piece := await self.read()):
            line += piece
        line, end, rest = line.partition(b"\n")
        if rest:
            self._pieces.appendleft(rest)
        return line + end
