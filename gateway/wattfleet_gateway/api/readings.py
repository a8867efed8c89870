"""A home's readings: now, over any time, and as energy by the home's own calendar."""

import time
from http import HTTPStatus

from fastapi import APIRouter, Request

from wattfleet_gateway.api.times import MOST_BUCKETS, LocalDate, Moment, StepS, checked_span
from wattfleet_gateway.errors import Problem, documented
from wattfleet_gateway.readings import (
    CalendarUnit,
    EnergyView,
    NowView,
    RangeView,
    energy_view,
    now_view,
    range_view,
)
from wattfleet_gateway.viewer import ThisHome
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(
    prefix="/households/{household_id}/readings",
    tags=["readings"],
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("/now")
async def get_now(request: Request, home: ThisHome) -> NowView:
    """The last reading of every socket."""
    now = await gateway_of(request).history.now(home.reader_url, home.id)
    return now_view(now, home.socket_names, int(time.time() * 1000))


@router.get("/range")
async def get_range(request: Request, home: ThisHome, start: Moment, end: Moment, step_s: StepS) -> RangeView:
    """Mean power per socket from `start` until before `end`, in steps of `step_s` seconds."""
    start_ms, end_ms = checked_span(start, end, step_s, MOST_BUCKETS)
    buckets = await gateway_of(request).history.range(home.reader_url, home.id, start_ms, end_ms, step_s)
    return range_view(buckets, home.socket_names, step_s)


@router.get("/energy")
async def get_energy(
    request: Request, home: ThisHome, start: LocalDate, end: LocalDate, by: CalendarUnit
) -> EnergyView:
    """Energy per socket by hour, day or month of the home's own calendar, from `start` until before `end`."""
    if start >= end:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "`start` must be before `end`.")
    zone = home.placement.time_zone
    buckets = await gateway_of(request).history.energy(home.reader_url, home.id, start, end, by, zone)
    return energy_view(buckets, home.socket_names, by, zone)
