"""A home's power as it changes, as server-sent events: one event `reading` about every second.

The stream ends when the session does or the home is no longer the viewer's; a browser then asks again by itself, and is
answered as it deserves.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from wattfleet_gateway.errors import documented
from wattfleet_gateway.live import LiveReading
from wattfleet_gateway.viewer import CurrentViewer, ThisHome
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(
    prefix="/households/{household_id}/live",
    tags=["live"],
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS),
)

_CHECK_EVERY_S = 15.0


async def _watched(
    request: Request, home: ThisHome, viewer: CurrentViewer
) -> AsyncIterator["asyncio.Queue[LiveReading]"]:
    async with gateway_of(request).live.watch(home.id, viewer.user_id) as readings:
        yield readings


@router.get("", response_class=EventSourceResponse)
async def stream(
    request: Request,
    home: ThisHome,
    viewer: CurrentViewer,
    readings: Annotated["asyncio.Queue[LiveReading]", Depends(_watched)],
) -> AsyncIterator[ServerSentEvent]:
    """Readings of the home while the connection lasts."""
    sessions, checked_s = gateway_of(request).sessions, time.monotonic()
    while True:
        try:
            async with asyncio.timeout(_CHECK_EVERY_S):
                reading = await readings.get()
            yield ServerSentEvent(event="reading", data=reading)
        except TimeoutError:
            pass
        if time.monotonic() - checked_s >= _CHECK_EVERY_S:
            if not await run_in_threadpool(viewer.still_sees, home.id, sessions):
                return
            checked_s = time.monotonic()
