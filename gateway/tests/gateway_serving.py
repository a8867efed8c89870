"""Serves an ASGI app with the real server, within the test's own loop, as the gateway's process does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def served(app: ASGIApp, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    # The parts of `serve()`, without what takes over the process's signals and looks for them ten times a second.
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    assert server.started
    try:
        yield
    finally:
        await server.shutdown()
