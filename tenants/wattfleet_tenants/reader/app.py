"""The reader: now, a range at a step, energy by local hour, day or month, and what was refused.

Answers hold sums and counts as they were measured; names, local time and estimates are for others to add. Everything
about a household needs the gateway's grant for that household, wherever the request comes from.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import date
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Query, Request
from prometheus_client import Histogram
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from wattfleet_tenants.answers import Buckets, Now, Refused, SocketBuckets
from wattfleet_tenants.crd import TimeZoneName
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import History, Refusals, Sums
from wattfleet_tenants.reader import errors
from wattfleet_tenants.reader.buckets import Period, edges_by_period, edges_by_step, runs
from wattfleet_tenants.reader.grants import Granted, Verifier

NOW_WITHIN_S = 24 * 3600
"""A socket that was silent for longer has no "now"."""
_QUERIES_AT_ONCE = 4

_SECONDS = Histogram("wattfleet_reader_request_seconds", "Time to answer", ["endpoint", "status"])


def create_app(
    history: History, refusals: Refusals, verifier: Verifier, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The reader's HTTP service. verifier: raises NotGranted unless a token opens a household."""
    app = FastAPI(title="Wattfleet reader", docs_url=None, redoc_url=None)
    app.state.verifier = verifier
    errors.install(app)
    app.middleware("http")(_measure)

    @app.get("/v1/households/{household_id}/now")
    async def now(household: Granted) -> Now:
        """The last reading of every socket."""
        return Now(sockets=await history.last(household, int(clock() * 1000), NOW_WITHIN_S))

    @app.get("/v1/households/{household_id}/range")
    async def range_(
        household: Granted, start_ms: int, end_ms: int, step_s: Annotated[int, Query(description="Seconds")]
    ) -> Buckets:
        """Readings of [start_ms, end_ms) in buckets of `step_s`."""
        return await _gather(history, household, edges_by_step(start_ms, end_ms, step_s))

    @app.get("/v1/households/{household_id}/energy")
    async def energy(household: Granted, start: date, end: date, by: Period, time_zone: TimeZoneName) -> Buckets:
        """Readings of the local dates [start, end) by hour, day or month."""
        return await _gather(history, household, edges_by_period(start, end, by, ZoneInfo(time_zone)))

    @app.get("/v1/households/{household_id}/refused")
    async def refused(household: Granted) -> list[Refused]:
        """What the writer refused, by reason."""
        return await refusals.refused(household)

    return app


async def _gather(history: History, household: HouseholdId, edges: list[int]) -> Buckets:
    """What was measured between `edges`: one query for each run of equal buckets, a few at a time. When one of them
    fails, the others are given up."""
    turn = asyncio.Semaphore(_QUERIES_AT_ONCE)
    asked = list(runs(edges))

    async def sums_of(index: int) -> dict[int, Sums]:
        async with turn:
            return await history.sums(household, asked[index])

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sums_of(index)) for index in range(len(asked))]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    answers = [task.result() for task in tasks]
    sockets: dict[int, SocketBuckets] = {}
    for number in sorted(set().union(*answers)):
        parts = [
            answer.get(number) or Sums([None] * run.count, [0] * run.count)
            for run, answer in zip(asked, answers, strict=True)
        ]
        sum_w = [value for part in parts for value in part.sum_w]
        sockets[number] = SocketBuckets(number=number, sum_w=sum_w, count=[n for part in parts for n in part.count])
    return Buckets(start_ms=edges[:-1], end_ms=edges[1:], sockets=list(sockets.values()))


async def _measure(request: Request, call_next: RequestResponseEndpoint) -> Response:
    began_s = time.monotonic()
    response = await call_next(request)
    route = request.scope.get("route")
    endpoint = getattr(route, "path", "unknown").rpartition("/")[2]
    _SECONDS.labels(endpoint, response.status_code).observe(time.monotonic() - began_s)
    return response
