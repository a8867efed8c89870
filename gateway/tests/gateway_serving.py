"""Serves an ASGI app with the real server, within the test's own loop, as the gateway's process does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp
from wattfleet_tenants.testing.waiting import eventually


@asynccontextmanager
async def served(app: ASGIApp, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    # Not `serve()`: that one takes over the process's signals.
    task = asyncio.create_task(server._serve())
    try:
        await eventually(lambda: server.started or task.done(), 10, "the server starts")
        yield
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 10)
