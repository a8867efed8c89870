"""VictoriaMetrics behind our ports, over HTTP: samples in as CSV or remote write, sums out as JSON.

A tenant is a base URL and nothing else, one for inserting and one for selecting. On a single node both are the same; in
a cluster they carry the tenant in their path.
"""

import asyncio
import contextlib
import re
import select
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Generic, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, Field, ValidationError

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


INSERT_PATH = "/api/v1/import/csv?format=" + ",".join(
    (
        "1:time:unix_ms",
        "2:label:household",
        f"3:metric:{series.POWER}",
        "4:label:socket",
        f"5:metric:{series.TEMPERATURE}",
        "6:label:thermometer",
    )
)
"""The columns of rows; an empty one is neither a sample nor a label."""
RUNS_PATH = "/api/v1/write"
_RUNS_HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}

_CONNECT_WITHIN_S = 5.0
_INSERT_WITHIN_S = 30.0
_TURN_AFTER_S = 0.3
"""For so long a body waits for the one before. Once in two million samples the store answers only when it has converted
all of them, for a second and more; what it had got with the one before is in its memory long before that."""
ATTEMPT_WITHIN_S = 2 * _INSERT_WITHIN_S + _TURN_AFTER_S
"""After that nobody here waits for the store's answer. A store that was frozen may still take what it has got."""


class VictoriaMetricsStore:
    """The side where samples go in. http: a client without a base URL.

    A thread sends samples from the memory where they were rendered. 6 MB (4,000 messages) cost 2 ms of CPU so, and 6 ms
    with httpx, which copies them.
    """

    def __init__(self, http: httpx.AsyncClient, insert_url: str) -> None:
        self._http = http
        self._url = insert_url.rstrip("/")
        self._idle: list[_Connection] = []

    async def insert_rows(self, rows: Sequence[memoryview]) -> None:
        """Hands over CSV rows in the columns of INSERT_PATH, in one piece or several; raises Unavailable.

        Done means: in the store's memory. It can be cancelled at any time, whatever the store does.
        """
        await self._insert(INSERT_PATH, {}, rows, None)

    async def insert_runs(self, body: Sequence[memoryview], before: asyncio.Event) -> None:
        """The same for one body of Prometheus remote write, of which the last byte waits for `before`, but not long."""
        await self._insert(RUNS_PATH, _RUNS_HEADERS, body, before)

    async def _insert(
        self, path: str, headers: Mapping[str, str], pieces: Sequence[memoryview], before: asyncio.Event | None
    ) -> None:
        connection = self._idle_connection() or _Connection(self._url)
        try:
            if before and not before.is_set():
                async with asyncio.timeout(_INSERT_WITHIN_S):
                    await asyncio.to_thread(connection.begin, path, headers, pieces)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(before.wait(), _TURN_AFTER_S)
                send = partial(connection.end, pieces)
            else:
                send = partial(connection.post, path, headers, pieces)
            async with asyncio.timeout(_INSERT_WITHIN_S):
                status, answer = await asyncio.to_thread(send)
        except (OSError, HTTPException) as error:
            connection.abort()
            raise Unavailable(f"the store does not answer: {describe(error)}") from error
        except asyncio.CancelledError:
            connection.abort()
            raise
        self._idle.append(connection)
        if not httpx.codes.is_success(status):
            raise Unavailable(f"the store answers {status}: {answer[:200]!r}")

    async def look(self) -> StoreRun:
        """Which run of the store this is; raises Unavailable."""
        metrics = await self._metrics()
        started = _STARTED.search(metrics)
        if started is None:
            raise Unavailable("the store does not say when it started")
        return StoreRun(started.group(1).decode(), sum(int(float(n)) for n in _DROPPED.findall(metrics)))

    async def _metrics(self) -> bytes:
        try:
            answer = await self._http.get(self._url + "/metrics")
        except httpx.HTTPError as error:
            raise Unavailable(f"the store does not answer: {describe(error)}") from error
        if not answer.is_success:
            raise Unavailable(f"the store answers {answer.status_code}: {answer.text[:200]}")
        return answer.content

    def _idle_connection(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
        return None


class _Connection:
    """One connection to the store, used by one thread at a time; it is closed when nobody holds it any more."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._http = kind(parts.hostname or "", parts.port, timeout=_CONNECT_WITHIN_S)
        self._path = parts.path
        self._aborted = False

    def __del__(self) -> None:
        self._http.close()

    def post(self, path: str, headers: Mapping[str, str], pieces: Sequence[memoryview]) -> tuple[int, bytes]:
        """Sends `pieces` as one body; returns the answer's status and text. Blocks; raises OSError, HTTPException."""
        self.begin(path, headers, pieces)
        return self.end(pieces)

    def begin(self, path: str, headers: Mapping[str, str], pieces: Sequence[memoryview]) -> None:
        """Sends `pieces` as one body, but for the last byte. Blocks; raises OSError, HTTPException."""
        if self._http.sock is None:
            self._http.connect()
            self._http.sock.settimeout(_INSERT_WITHIN_S)  # type: ignore[attr-defined]
        if self._aborted:
            raise ConnectionAbortedError("nobody waits for it any more")
        self._http.putrequest("POST", self._path + path)
        for name, value in headers.items():
            self._http.putheader(name, value)
        self._http.putheader("Content-Length", str(sum(piece.nbytes for piece in pieces)))
        self._http.endheaders()
        for piece in (*pieces[:-1], pieces[-1][:-1]):
            self._http.send(piece)

    def end(self, pieces: Sequence[memoryview]) -> tuple[int, bytes]:
        """Sends their last byte; returns the answer's status and text. Blocks; raises OSError, HTTPException."""
        self._http.send(pieces[-1][-1:])
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def abort(self) -> None:
        """Ends what another thread is waiting for: it finds the connection closed, or never begins to send."""
        self._aborted = True
        if self._http.sock is not None:
            with contextlib.suppress(OSError):
                self._http.sock.shutdown(socket.SHUT_RDWR)

    def is_open(self) -> bool:
        """Whether the store has not closed it meanwhile, as it does after two minutes: then there is an end to read."""
        return self._http.sock is not None and not select.select([self._http.sock], [], [], 0)[0]


class _Series(BaseModel):
    """Of one socket. Numbers that are texts in the store's JSON become numbers right away: with json and float() a year
    by hour of 30 sockets, compressed too, took the reader 981 ms of CPU instead of 630."""

    metric: dict[str, str]

    @property
    def socket(self) -> int:
        return int(self.metric["socket"])


class _Last(_Series):
    """value: Unix time (s) and number."""

    value: tuple[float, float]


class _Course(_Series):
    """values: the same for each bucket that has one."""

    values: list[tuple[float, float]]


_Found = TypeVar("_Found", bound=_Series)


class _Data(BaseModel, Generic[_Found]):
    result: list[_Found]


class _Answer(BaseModel, Generic[_Found]):
    """isPartial: a cluster of stores says so when one of them is away. What is kept there must not look missing."""

    is_partial: Literal[False] = Field(default=False, alias="isPartial")
    data: _Data[_Found]


_Lasts, _Courses = _Answer[_Last], _Answer[_Course]


_NOT_COMPRESSED = {"Accept-Encoding": "identity"}
"""Megabytes of numbers take store and reader longer to compress and expand than a cluster's network to carry."""


class VictoriaMetricsHistory:
    """The side where questions come in: queries come from `series` alone, and are held to one household twice over."""

    def __init__(self, http: httpx.AsyncClient, select_url: str) -> None:
        self._http = http
        self._url = select_url.rstrip("/")

    async def last(self, household: HouseholdId, at_ms: int, within_s: int) -> list[SocketNow]:
        """The last reading of every socket in the `within_s` seconds up to `at_ms`; raises Unavailable."""
        query = series.last_query(household, within_s)
        found = await self._query(_Lasts, household, "query", {"query": query, "time": _seconds(at_ms)})
        values = {(one.socket, one.metric["is"]): one.value[1] for one in found}
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
        for one in await self._query(_Courses, household, "query_range", parameters):
            socket = sums.setdefault(one.socket, Sums([None] * run.count, [0] * run.count))
            is_sum = one.metric["is"] == "sum"
            for at_s, value in one.values:
                bucket = (round(at_s * 1000) - first_ms) // run.length_ms
                if is_sum:
                    socket.sum_w[bucket] = value
                else:
                    socket.count[bucket] = int(value)
        return sums

    async def _query(
        self, shape: type[_Answer[_Found]], household: HouseholdId, kind: str, parameters: dict[str, str]
    ) -> list[_Found]:
        bounds = {
            # Held against everything a query can say; see the query's own selector for the other lock.
            "extra_label": f"household={parse_household_id(household)}",
            # Without it, ranges are moved to multiples of the step, and answers may be those of a minute ago.
            "nocache": "1",
            "latency_offset": "1ms",
        }
        try:
            answer = await self._http.post(
                f"{self._url}/api/v1/{kind}", data={**parameters, **bounds}, headers=_NOT_COMPRESSED
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"the store does not answer: {describe(error)}") from error
        if not answer.is_success:
            raise Unavailable(f"the store answers {answer.status_code}: {answer.text[:200]}")
        try:
            return shape.model_validate_json(answer.content).data.result
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            raise Unavailable(f"the store's answer is not understood: {wrong['type']} at {place!r}") from None


def _seconds(at_ms: int) -> str:
    return f"{at_ms // 1000}.{at_ms % 1000:03}"
