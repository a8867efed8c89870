"""How our HTTP services are served: by uvicorn, within a loop of our own, ended once by a signal.

uvicorn's own signal handling kills the process by the same signal again after everything was stopped cleanly; ours
lets the process end by itself, with exit status 0.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_FAREWELL_S = 3
# Longer than any client of ours keeps an idle connection (httpx: 5 s), so that no request meets one that is closing.
_KEEP_ALIVE_S = 75
_LARGEST_SOCKET_MESSAGE_BYTES = 2**20


class HttpServer(uvicorn.Server):
    """Serves `app` at host:port until SIGTERM or SIGINT; `on_open` is called when the port listens."""

    def __init__(self, app: ASGIApp, host: str, port: int, on_open: Callable[[], None] = lambda: None) -> None:
        self._on_open = on_open
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws_max_size=_LARGEST_SOCKET_MESSAGE_BYTES,
                timeout_graceful_shutdown=_FAREWELL_S,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # noqa: D102 (uvicorn's name for it)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: D102
        await super().startup(sockets)
        if self.started:
            self._on_open()
