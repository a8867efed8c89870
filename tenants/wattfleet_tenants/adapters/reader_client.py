"""The gateway's way to a shard's reader: HTTP with a short-lived signed grant for one household per request.

Errors come out as the two of `ports`, so that the gateway need not know HTTP's. The reader answers in milliseconds,
or seconds for many years at once, hence the generous time-out.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Literal, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from wattfleet_tenants.answers import Buckets, Now, Refused
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import BadRequest, Unavailable

Period = Literal["hour", "day", "month"]

Answer = TypeVar("Answer")

_TIMEOUT_S = 30.0
_REFUSED = TypeAdapter(list[Refused])


class ReaderClient:
    """Asks readers. grant: signs a grant for a household, fresh for every request."""

    def __init__(self, http: httpx.AsyncClient, grant: Callable[[HouseholdId], str]) -> None:
        self._http = http
        self._grant = grant

    async def now(self, reader_url: str, household: HouseholdId) -> Now:
        """The last reading of every socket; raises Unavailable."""
        return _parsed(TypeAdapter(Now), await self._get(reader_url, household, "now", {}))

    async def range(self, reader_url: str, household: HouseholdId, start_ms: int, end_ms: int, step_s: int) -> Buckets:
        """Readings of [start_ms, end_ms) in buckets of `step_s` seconds; raises BadRequest or Unavailable."""
        query = {"start_ms": start_ms, "end_ms": end_ms, "step_s": step_s}
        return _parsed(TypeAdapter(Buckets), await self._get(reader_url, household, "range", query))

    async def energy(
        self, reader_url: str, household: HouseholdId, start: date, end: date, by: Period, time_zone: str
    ) -> Buckets:
        """Readings of the local dates [start, end) by hour, day or month; raises BadRequest or Unavailable."""
        query = {"start": start.isoformat(), "end": end.isoformat(), "by": by, "time_zone": time_zone}
        return _parsed(TypeAdapter(Buckets), await self._get(reader_url, household, "energy", query))

    async def refused(self, reader_url: str, household: HouseholdId) -> list[Refused]:
        """What the writer refused of the household, by reason; raises Unavailable."""
        return _parsed(_REFUSED, await self._get(reader_url, household, "refused", {}))

    async def _get(self, reader_url: str, household: HouseholdId, what: str, query: Mapping[str, str | int]) -> bytes:
        try:
            answer = await self._http.get(
                f"{reader_url.rstrip('/')}/v1/households/{household}/{what}",
                params=query,
                headers={"Authorization": f"Bearer {self._grant(household)}"},
                timeout=_TIMEOUT_S,
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"the reader does not answer: {type(error).__name__}") from error
        if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
            raise BadRequest(_detail(answer))
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"the reader answers {answer.status_code}: {_detail(answer)}")
        return answer.content


def _parsed(model: TypeAdapter[Answer], body: bytes) -> Answer:
    try:
        return model.validate_json(body)
    except ValidationError as error:
        raise Unavailable("the reader's answer is not understood") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
