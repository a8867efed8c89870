"""VictoriaMetrics behind our ports, over HTTP: samples in as text, sums out as JSON.

A tenant is a base URL and nothing else, one for inserting and one for selecting. On a single node both are the same; in
a cluster they carry the tenant in their path.
"""

import json
import re
from typing import Any

import httpx

from wattfleet_tenants import series
from wattfleet_tenants.adapters.nats_connection import describe
from wattfleet_tenants.answers import SocketNow
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.ports import BucketRun, StoreRun, Sums, Unavailable

_STARTED = re.compile(rb"^process_start_time_seconds (\S+)$", re.MULTILINE)
_DROPPED = re.compile(
    rb"^(?:vm_rows_ignored_total|vm_rows_invalid_total|vm_(?:hourly|daily)_series_limit_rows_dropped_total)"
    rb"(?:{[^}]*})? (\S+)$",
    re.MULTILINE,
)


class VictoriaMetricsStore:
    """The side where samples go in. http: a client without a base URL."""

    def __init__(self, http: httpx.AsyncClient, insert_url: str) -> None:
        self._http = http
        self._url = insert_url.rstrip("/")

    async def insert(self, body: bytes) -> None:
        """Hands over samples in Prometheus' text format; done means: in the store's memory. Raises Unavailable."""
        await self._ask("POST", "/api/v1/import/prometheus", body)

    async def look(self) -> StoreRun:
        """Which run of the store this is; raises Unavailable."""
        metrics = await self._ask("GET", "/metrics")
        started = _STARTED.search(metrics)
        if started is None:
            raise Unavailable("the store does not say when it started")
        return StoreRun(started.group(1).decode(), sum(int(float(n)) for n in _DROPPED.findall(metrics)))

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            answer = await self._http.request(method, self._url + path, content=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"the store does not answer: {describe(error)}") from error
        if not answer.is_success:
            raise Unavailable(f"the store answers {answer.status_code}: {answer.text[:200]}")
        return answer.content


class VictoriaMetricsHistory:
    """The side where questions come in: queries come from `series` alone, and are held to one household twice over."""

    def __init__(self, http: httpx.AsyncClient, select_url: str) -> None:
        self._http = http
        self._url = select_url.rstrip("/")

    async def last(self, household: HouseholdId, at_ms: int, within_s: int) -> list[SocketNow]:
        """The last reading of every socket in the `within_s` seconds up to `at_ms`; raises Unavailable."""
        query = series.last_query(household, within_s)
        found = await self._query(household, "query", {"query": query, "time": _seconds(at_ms)})
        values: dict[tuple[int, str], float] = {
            (int(one["metric"]["socket"]), one["metric"]["is"]): float(one["value"][1]) for one in found
        }
        return [
            SocketNow(number=number, power_w=value, at_ms=round(values[number, "time"] * 1000))
            for (number, what), value in sorted(values.items())
            if what == "value"
        ]

    async def sums(self, household: HouseholdId, run: BucketRun) -> dict[int, Sums]:
        """What was measured in each bucket of `run`, by socket number; raises Unavailable.

        A window in a query is open at its start and closed at its end, a bucket the other way round: it is asked for
        one millisecond before its end.
        """
        first_ms = run.first_start_ms + run.length_ms - 1
        parameters = {
            "query": series.bucket_query(household, run.length_ms),
            "start": _seconds(first_ms),
            "end": _seconds(first_ms + (run.count - 1) * run.length_ms),
            "step": f"{run.length_ms}ms",
        }
        sums: dict[int, Sums] = {}
        for one in await self._query(household, "query_range", parameters):
            socket = sums.setdefault(int(one["metric"]["socket"]), Sums([None] * run.count, [0] * run.count))
            for at_s, value in one["values"]:
                bucket = (round(at_s * 1000) - first_ms) // run.length_ms
                if one["metric"]["is"] == "sum":
                    socket.sum_w[bucket] = float(value)
                else:
                    socket.count[bucket] = int(value)
        return sums

    async def _query(self, household: HouseholdId, kind: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        bounds = {
            # Held against everything a query can say; see the query's own selector for the other lock.
            "extra_label": f"household={parse_household_id(household)}",
            # Without it, ranges are moved to multiples of the step, and answers may be those of a minute ago.
            "nocache": "1",
            "latency_offset": "1ms",
        }
        try:
            answer = await self._http.post(f"{self._url}/api/v1/{kind}", data={**parameters, **bounds})
            if answer.is_success:
                found: list[dict[str, Any]] = json.loads(answer.content)["data"]["result"]
                return found
        except (httpx.HTTPError, ValueError, LookupError) as error:
            raise Unavailable(f"the store does not answer: {describe(error)}") from error
        raise Unavailable(f"the store answers {answer.status_code}: {answer.text[:200]}")


def _seconds(at_ms: int) -> str:
    return f"{at_ms // 1000}.{at_ms % 1000:03}"
