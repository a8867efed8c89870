"""Buckets of time: by a step, or by hour, day and month as the household's clocks on the wall show them.

A local day has 23, 24 or 25 hours, or 24.5 on Lord Howe Island; a midnight may not exist (São Paulo, 4 November 2018)
and neither may a whole day (Samoa, 30 December 2011). So buckets are made from moments at which a local date begins,
and only then gathered into runs of equal length, a query for each, or some where it is long.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from wattfleet_tenants.ports import BadRequest, BucketRun

Period = Literal["hour", "day", "month"]

MAX_BUCKETS = 11_000
"""More points than a screen has pixels."""
MOST_PER_QUERY = 1_000
"""A year by hour of 30 sockets is half a million numbers: to read all at once kept others waiting for half a second."""
MAX_RANGE = timedelta(days=36_525)
MAX_STEP_S = 366 * 24 * 3600
_HOUR_S = 3600
_FIRST_YEAR, _LAST_YEAR = 1970, 2199  # dates far beyond them cannot be reckoned with; nobody measures then
_TOO_EARLY = f"nothing is stored from before {_FIRST_YEAR}"
_LATEST_MS = 7_258_118_400_000


def edges_by_step(start_ms: int, end_ms: int, step_s: int) -> list[int]:
    """Where the buckets of [start_ms, end_ms) begin and end (Unix time, ms); the last may be shorter.

    Raises BadRequest when that is not a range, the step is not whole minutes, or there are too many buckets.
    """
    _check_range(start_ms, end_ms)
    if step_s <= 0 or step_s % 60 or step_s > MAX_STEP_S:
        raise BadRequest("step_s must be a multiple of 60 up to a year")
    step_ms = step_s * 1000
    if -(-(end_ms - start_ms) // step_ms) > MAX_BUCKETS:
        raise BadRequest(f"more than {MAX_BUCKETS} points: choose a longer step or a shorter range")
    return [*range(start_ms, end_ms, step_ms), end_ms]


def edges_by_period(start: date, end: date, by: Period, zone: ZoneInfo) -> list[int]:
    """Where the hours, days or months of the local dates [start, end) begin and end (Unix time, ms).

    A period that `start` or `end` cuts is cut; a date that a zone skipped has no bucket. Raises BadRequest.
    """
    if start >= end:
        raise BadRequest("start must be before end")
    if start.year < _FIRST_YEAR:
        raise BadRequest(_TOO_EARLY)
    if end.year > _LAST_YEAR:
        raise BadRequest(f"the last year is {_LAST_YEAR}")
    _check_range(first := start_of_date(start, zone) * 1000, last := start_of_date(end, zone) * 1000)
    if by == "hour":
        edges = _hours(first // 1000, last // 1000, zone)
    else:
        days = _dates(start, end, by)
        edges = (start_of_date(day, zone) for day in days)
    found = [first]
    for edge_s in edges:
        if edge_s * 1000 > found[-1]:
            found.append(edge_s * 1000)
        if len(found) > MAX_BUCKETS + 1:
            raise BadRequest(f"more than {MAX_BUCKETS} buckets: choose longer periods or a shorter range")
    return found


def start_of_date(day: date, zone: ZoneInfo) -> int:
    """The moment (Unix time, s) from which on the clocks of `zone` show `day` or a later date for good.

    Midnight, where there is one; the later of two; the end of the gap, where clocks jump over midnight.
    """
    midnight = datetime.combine(day, time(), zone)
    earlier, later = sorted(int(midnight.replace(fold=fold).timestamp()) for fold in (0, 1))
    if _local(later, zone).date() >= day > _local(earlier, zone).date():
        return _end_of_gap(day, earlier, later, zone)
    return later


def runs(edges: Sequence[int]) -> Iterator[BucketRun]:
    """The buckets between `edges`, neighbours of equal length together, MOST_PER_QUERY at the most."""
    first = 0
    lengths = [after - before for before, after in pairwise(edges)]
    for index in range(1, len(lengths) + 1):
        if index == len(lengths) or lengths[index] != lengths[first] or index - first == MOST_PER_QUERY:
            yield BucketRun(edges[first], lengths[first], index - first)
            first = index


def _check_range(start_ms: int, end_ms: int) -> None:
    if start_ms >= end_ms:
        raise BadRequest("start must be before end")
    if start_ms < 0:
        raise BadRequest(_TOO_EARLY)
    if end_ms > _LATEST_MS:
        raise BadRequest(f"the last year is {_LAST_YEAR}")
    if end_ms - start_ms > MAX_RANGE / timedelta(milliseconds=1):
        raise BadRequest("a range may be 100 years long at most")


def _end_of_gap(day: date, before: int, after: int, zone: ZoneInfo) -> int:
    """The moment in (before, after] at which the clocks jump to `day`; found by halving."""
    while after - before > 1:
        middle = (before + after) // 2
        if _local(middle, zone).date() >= day:
            after = middle
        else:
            before = middle
    return after


def _hours(first_s: int, last_s: int, zone: ZoneInfo) -> Iterator[int]:
    """Whenever the minute hand stands at twelve. After a jump of half an hour one bucket is half as long."""
    at_s = first_s
    while at_s < last_s:
        local = _local(at_s, zone)
        at_s = min(at_s + _HOUR_S - local.minute * 60 - local.second, last_s)
        yield at_s


def _dates(start: date, end: date, by: Period) -> Iterator[date]:
    day = start
    while day < end:
        if by == "day":
            day += timedelta(days=1)
        else:
            day = min((day.replace(day=1) + timedelta(days=32)).replace(day=1), end)
        yield day


def _local(at_s: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_s, UTC).astimezone(zone)
