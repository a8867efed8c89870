"""Times as they come in a query: strict, so that what is answered is what was meant."""

import re
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from wattfleet_gateway.errors import Problem

MOST_BUCKETS = 11_000
"""More points than any screen has, and what VictoriaMetrics itself computes at most for one query."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T.+")


def _written_as_date(value: Any) -> Any:
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("write a date as 2026-11-01")
    return value


def _written_as_moment(value: Any) -> Any:
    if isinstance(value, str) and not _MOMENT.fullmatch(value):
        raise ValueError("write a time as 2026-11-01T00:00:00+01:00 (in an address, + is written %2B)")
    return value


def _of_our_age(value: datetime) -> datetime:
    if not _EPOCH <= value <= _LATEST:
        raise ValueError("a time must be from 1970 to 2200")
    return value


Moment = Annotated[
    AwareDatetime, BeforeValidator(_written_as_moment), AfterValidator(_of_our_age), Query(description="ISO 8601")
]
LocalDate = Annotated[date, BeforeValidator(_written_as_date), Query(description="A date of the home's own calendar")]
StepS = Annotated[int, Query(ge=60, le=31 * 86_400, multiple_of=60, description="Length of a bucket, in s")]


def unix_ms(moment: datetime) -> int:
    """`moment` as Unix time in ms."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def checked_span(start: datetime, end: datetime, step_s: int, most_buckets: int) -> tuple[int, int]:
    """Start and end in ms; raises Problem when they are not in order, or hold more than `most_buckets` steps."""
    start_ms, end_ms = unix_ms(start), unix_ms(end)
    if start_ms >= end_ms:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "`start` must be before `end`.")
    if end_ms - start_ms > most_buckets * step_s * 1000:
        detail = f"That is more than {most_buckets:,} steps: ask for a shorter time or a longer `step_s`."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return start_ms, end_ms
