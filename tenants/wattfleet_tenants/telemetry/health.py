"""Metrics and health on a port of their own, so that they never share a door with households.

`/healthz` answers whether the process lives (its loop has beaten lately), `/readyz` whether it can do its work, with a
reason for each part that cannot, `/metrics` for Prometheus. A thread serves them, so that a busy loop cannot hide
itself. The standard library's server is enough for a probe and keeps web frameworks off the Raspberry Pi.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

_STALLED_AFTER_S = 30.0
_BEAT_EVERY_S = 1.0


class Health:
    """Which parts of this process work. A part that was never reported is not ready."""

    def __init__(self, *parts: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trouble: dict[str, str | None] = dict.fromkeys(parts, "starting")
        self._last_beat_s = clock()

    def ok(self, part: str) -> None:
        """`part` works."""
        self._trouble[part] = None

    def trouble(self, part: str, reason: str) -> None:
        """`part` does not work, because of `reason` (a short sentence without secrets)."""
        self._trouble[part] = reason

    def beat(self) -> None:
        """The process's main loop is going round."""
        self._last_beat_s = self._clock()

    @property
    def alive(self) -> bool:
        """Whether the main loop has beaten within the last 30 s."""
        return self._clock() - self._last_beat_s < _STALLED_AFTER_S

    @property
    def troubles(self) -> dict[str, str]:
        """The parts that do not work, with reasons; empty when ready."""
        return {part: reason for part, reason in self._trouble.items() if reason}

    async def keep_beating(self) -> None:
        """Beats as long as the event loop goes round; run it as a task beside the work."""
        while True:
            self.beat()
            await asyncio.sleep(_BEAT_EVERY_S)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds; they are not worth a line."""


def _app(health: Health) -> Callable[..., Iterable[bytes]]:
    metrics: Callable[..., Iterable[bytes]] = make_wsgi_app()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start_response)
        if path not in ("/healthz", "/readyz"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found\n"]
        good = health.alive and (path == "/healthz" or not health.troubles)
        start_response("200 OK" if good else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"alive": health.alive, "troubles": health.troubles}).encode()]

    return answer


def serve_health(health: Health) -> int | None:
    """Serves `health` on WATTFLEET_HEALTH_HOST:WATTFLEET_HEALTH_PORT (127.0.0.1 and no port by default).

    Returns the port, or None when none is asked for. Raises OSError when the port is taken.
    """
    asked = os.environ.get("WATTFLEET_HEALTH_PORT")
    if not asked:
        return None
    return start_health_server(health, int(asked), os.environ.get("WATTFLEET_HEALTH_HOST", "127.0.0.1")).server_port


def start_health_server(health: Health, port: int, host: str = "127.0.0.1") -> WSGIServer:
    """A server of `health` in a thread of its own; `shutdown()` and `server_close()` end it. Raises OSError."""
    server = make_server(host, port, _app(health), server_class=_Server, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
