"""A home's readings to take away: a CSV file of any length, made and sent piece by piece.

Times are the home's own, with their offset, so that the repeated hour in autumn is told apart. A value that was not
measured is an empty field. Names cannot turn into formulas when the file is opened in a spreadsheet. When the readings
cannot be reached half-way, the download breaks off, instead of ending early as if it were whole.
"""

import csv
import io
import re
import unicodedata
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from wattfleet_gateway.api.times import Moment, StepS, checked_span
from wattfleet_gateway.errors import documented
from wattfleet_gateway.readings import RangeView, range_view
from wattfleet_gateway.viewer import Home, ThisHome
from wattfleet_gateway.wiring import gateway_of

router = APIRouter(
    prefix="/households/{household_id}/readings",
    tags=["readings"],
    responses=documented(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)

MOST_STEPS = 366 * 24 * 60
"""A leap year of minutes."""
# A day of minutes: some 40,000 lines of a home with 30 sockets, rendered in about 60 ms.
_STEPS_AT_A_TIME = 1440
_COLUMNS = ("time", "socket", "name", "mean_power_w", "measured")
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvResponse(StreamingResponse):
    """A CSV file to be saved."""

    media_type = "text/csv; charset=utf-8"


@router.get("/export.csv", response_class=CsvResponse)
async def export(request: Request, home: ThisHome, start: Moment, end: Moment, step_s: StepS = 900) -> CsvResponse:
    """Mean power per socket as a file, one line per step and socket."""
    start_ms, end_ms = checked_span(start, end, step_s, MOST_STEPS)
    pieces = _pieces(request, home, (start_ms, end_ms), step_s)
    # What is wrong with the question shows with the first piece, while there is still an answer to give.
    first = await anext(pieces)
    name = f"wattfleet-{_file_name(home.name)}-{start:%Y-%m-%d}-{end:%Y-%m-%d}.csv"
    return CsvResponse(_following(first, pieces), headers={"Content-Disposition": f'attachment; filename="{name}"'})


async def _following(first: str, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for piece in pieces:
        yield piece


async def _pieces(request: Request, home: Home, span_ms: tuple[int, int], step_s: int) -> AsyncIterator[str]:
    history, zone = gateway_of(request).history, ZoneInfo(home.placement.time_zone)
    start_ms, end_ms = span_ms
    piece_ms = _STEPS_AT_A_TIME * step_s * 1000
    for piece_start_ms in range(start_ms, end_ms, piece_ms):
        piece_end_ms = min(piece_start_ms + piece_ms, end_ms)
        buckets = await history.range(home.reader_url, home.id, piece_start_ms, piece_end_ms, step_s)
        view = range_view(buckets, home.socket_names, step_s)
        yield await run_in_threadpool(render, view, zone, piece_start_ms == start_ms)


def render(view: RangeView, zone: ZoneInfo, with_header: bool) -> str:
    """The lines of a piece of the file."""
    file = io.StringIO(newline="")
    lines = csv.writer(file)
    if with_header:
        lines.writerow(_COLUMNS)
    names = [harmless(socket.name) for socket in view.sockets]
    for index, at_ms in enumerate(view.start_ms):
        moment = datetime.fromtimestamp(at_ms / 1000, zone).isoformat()
        for socket, name in zip(view.sockets, names, strict=True):
            power_w, measured = socket.mean_power_w[index], socket.measured[index]
            power = "" if power_w is None else f"{power_w:.3f}"
            lines.writerow((moment, socket.number, name, power, f"{measured:.4g}"))
    return file.getvalue()


def harmless(name: str) -> str:
    """`name`, with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{name}" if name.lstrip().startswith(_STARTS_A_FORMULA) else name


def _file_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "home"
