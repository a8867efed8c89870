"""A connection to NATS that outlives the server, and that no publisher can make deaf.

It reconnects for ever. Headers and subjects to reply to come from publishers, homes included, and nats-py stops reading
(and still calls itself connected) when it cannot parse one; so headers that cannot be parsed are as good as none here,
and a message with such a subject as well. The same happened when an answer came after its question had timed out. Use
this client wherever messages of homes arrive.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nats.aio.client import Client, Srv

from wattfleet_tenants.adapters.server_stream import Hear, SizedParser
from wattfleet_tenants.adapters.wide_transport import WideTransport
from wattfleet_tenants.ports import Unavailable

logger = logging.getLogger(__name__)

_RECONNECT_EVERY_S = 1
_PING_EVERY_S = 10
_FLUSH_WITHIN_S = 10


class NatsConnection(Client):
    """Connect with `connect_to`. on_reconnected: what to do when the server is there again; on_closed: when the
    connection is over for good, since the server does not accept the credential any more. read_every_s: as
    `WideTransport` has it."""

    def __init__(self, read_every_s: float = 0.0) -> None:
        super().__init__()
        self._read_every_s = read_every_s
        self._sized = SizedParser(self)
        self._ps = self._sized  # type: ignore[assignment]  # all that nats-py asks of its parser
        self.on_reconnected: list[Callable[[], None]] = []
        self.on_closed: list[Callable[[], None]] = []

    async def connect_to(self, servers: Sequence[str], credentials: Path, name: str, inbox: str) -> None:
        """Connects, waiting for a server as long as it takes. inbox: the prefix of reply subjects it may listen on."""
        await self.connect(
            servers=list(servers),
            name=name,
            user_credentials=str(credentials),
            inbox_prefix=inbox,
            max_reconnect_attempts=-1,  # the first attempt included
            reconnect_time_wait=_RECONNECT_EVERY_S,
            ping_interval=_PING_EVERY_S,
            max_outstanding_pings=2,
            error_cb=self._log_error,
            disconnected_cb=self._log_lost,
            reconnected_cb=self._tell_back,
            closed_cb=self._tell_closed,
        )

    def require_connected(self) -> None:
        """Raises Unavailable while the server is away, before anything is buffered for later."""
        if not self.is_connected:
            raise Unavailable("NATS is away")

    async def flush(self, timeout: int = _FLUSH_WITHIN_S) -> None:  # noqa: ASYNC109 (as nats-py has it)
        """Returns when the server has taken all that was published; nats-py's own may ask before it has sent it.

        timeout: seconds. Raises nats.errors.TimeoutError.
        """
        await self._flush_pending(force_flush=True)
        await super().flush(timeout)

    async def listen(self, subject: str, hear: Hear) -> None:
        """Subscribes to `subject` for good, and hands each message to `hear` as it comes."""
        self._sized.listen(self._sid + 1, hear)
        await self.subscribe(subject)

    async def _connect_to_server(self, s: Srv) -> None:
        self._transport = self._transport or WideTransport(self._read_every_s)
        await super()._connect_to_server(s)
        self._ps.reset()  # nats-py forgets to, when the connection was lost while its bytes were parsed

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            parsed: dict[str, str] | None = await super()._process_headers(headers)
        except (ValueError, LookupError) as error:
            logger.warning("headers that cannot be parsed are ignored", extra={"error": describe(error)})
            return None
        return parsed

    def _build_message(self, *told: Any) -> Any:
        with contextlib.suppress(
            UnicodeDecodeError
        ):  # a subject to reply to comes from a home, too; then nobody is told
            return super()._build_message(*told)
        return None

    async def _process_pong(self) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):  # whoever asked has given up, the server is there
            await super()._process_pong()

    async def _log_error(self, error: Exception) -> None:
        logger.warning("NATS reports an error", extra={"error": describe(error)})

    async def _log_lost(self) -> None:
        logger.warning("NATS is away")

    async def _tell_back(self) -> None:
        logger.info("NATS is back")
        for callback in self.on_reconnected:
            callback()

    async def _tell_closed(self) -> None:
        for callback in self.on_closed:
            callback()


def describe(error: BaseException) -> str:
    """An error as a short text; many of nats-py's have none of their own."""
    return f"{type(error).__name__}: {error}"[:300]
