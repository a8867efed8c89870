"""A home's power while somebody watches: asked for once, shown to all who look, and gone when nobody does.

The gateway signs a command that is good for one lease, and renews it in time; the home's agent answers with a reading
about every second. When it falls silent, the last stored minute is shown instead, and said to be that. What a home
sends is checked here like everywhere else: an answer that is malformed or implausible is dropped and counted.
"""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from prometheus_client import Counter, Gauge
from pydantic import BaseModel
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.permissions import LIVE_LEASE_S
from wattfleet_tenants.ports import BadRequest, Unavailable
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.wire import codec

from wattfleet_gateway.edge import Edge, EdgeUnavailable
from wattfleet_gateway.errors import Problem
from wattfleet_gateway.fleet import Fleet, Placement
from wattfleet_gateway.readings import History, now_view

logger = logging.getLogger(__name__)

STREAMS_PER_PERSON = 8
"""Enough for the tabs and devices of one person, and a bound on what one person can cost."""
_UNREAD_READINGS = 4
_CLOCK_TOLERANCE_MS = 5 * 60_000

_DROPPED = Counter("wattfleet_gateway_live_dropped_total", "Live readings that were not shown", ["reason"])
_SHOWN = Counter("wattfleet_gateway_live_shown_total", "Live readings by where they came from", ["source"])
_HOMES = Gauge("wattfleet_gateway_live_homes", "Homes that somebody is watching")
_STREAMS = Gauge("wattfleet_gateway_live_streams", "Browsers that are watching a home")


class LiveSocket(BaseModel):
    """A socket's power in W, null when it was not measured."""

    number: int
    power_w: float | None


class LiveReading(BaseModel):
    """A home at one moment, or (source "minute") its mean over the last stored minute. power_w: sum in W or null."""

    at_ms: int | None
    source: Literal["live", "minute"]
    power_w: float | None
    sockets: list[LiveSocket]


@dataclass(frozen=True, slots=True)
class Pace:
    """When things happen, in s.

    renew: how long before a lease ends the next is asked for. silence: without a live reading for so long, a home is
    not live. fall_back: how often the stored minute is shown then. ask_again: how often a silent home is asked.
    """

    lease: float = LIVE_LEASE_S
    renew: float = 5.0
    silence: float = 5.0
    fall_back: float = 10.0
    ask_again: float = 10.0


class LiveHome:
    """One home that is watched, however many watch it."""

    def __init__(self, household: HouseholdId, parts: "LiveHomes") -> None:
        self._household = household
        self._placement = Placement()
        self._parts = parts
        self._pace = parts.pace
        self._viewers: set[asyncio.Queue[LiveReading]] = set()
        self._latest: LiveReading | None = None
        self._last_live_s = float("-inf")

    @property
    def watched(self) -> bool:
        """Whether anybody still looks."""
        return bool(self._viewers)

    def join(self) -> asyncio.Queue[LiveReading]:
        """A queue on which all further readings come; a slow reader of it misses the oldest ones."""
        readings: asyncio.Queue[LiveReading] = asyncio.Queue(_UNREAD_READINGS)
        if self._latest:
            readings.put_nowait(self._latest)
        self._viewers.add(readings)
        return readings

    def leave(self, readings: asyncio.Queue[LiveReading]) -> None:
        """That queue gets nothing more."""
        self._viewers.discard(readings)

    async def run(self) -> None:
        """Asks the home for readings and watches over its silence, until cancelled."""
        await self._look_up()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_asking())
            tasks.create_task(self._fall_back())

    def hear(self, message: bytes) -> None:
        """A live reading came: shows it, or drops it when it cannot be one."""
        try:
            readings = codec.decode(message)
            self._check(readings)
        except ValueError as error:
            _DROPPED.labels(str(error)).inc()
            logger.info("live reading dropped", extra={"household": self._household, "reason": str(error)})
            return
        self._last_live_s = time.monotonic()
        sockets = [LiveSocket(number=index + 1, power_w=power) for index, power in enumerate(readings.power_w)]
        self._show("live", readings.interval_start_ms, sockets)

    def _check(self, readings: HomeReadings) -> None:
        if readings.sequence != 0:
            raise ValueError("not-live")
        if abs(readings.interval_start_ms - time.time() * 1000) > _CLOCK_TOLERANCE_MS:
            raise ValueError("wrong-time")
        if any(power is not None and abs(power) > self._placement.max_power_w for power in readings.power_w):
            raise ValueError("implausible-power")

    def _show(self, source: Literal["live", "minute"], at_ms: int | None, sockets: list[LiveSocket]) -> None:
        powers = [socket.power_w for socket in sockets if socket.power_w is not None]
        total = sum(powers) if powers else None
        self._latest = LiveReading(at_ms=at_ms, source=source, power_w=total, sockets=sockets)
        _SHOWN.labels(source).inc()
        for viewer in self._viewers:
            if viewer.full():
                viewer.get_nowait()
            viewer.put_nowait(self._latest)

    async def _look_up(self) -> None:
        # A home may be placed, or moved, while somebody waits for it.
        self._placement = await asyncio.to_thread(self._parts.fleet.placement, self._household)

    def _silent(self) -> bool:
        return time.monotonic() - self._last_live_s >= self._pace.silence

    async def _keep_asking(self) -> None:
        """One lease after the other; a new one is opened before the old is let go, so that nothing is missed."""
        async with AsyncExitStack() as held:
            while True:
                try:
                    async with AsyncExitStack() as fresh:
                        command = self._parts.sign(self._household).encode()
                        await fresh.enter_async_context(
                            self._parts.edge.lease(self._placement, self._household, command, self.hear)
                        )
                        await held.aclose()
                        held.push_async_callback(fresh.pop_all().aclose)
                except EdgeUnavailable as error:
                    logger.warning("home not asked", extra={"household": self._household, "error": str(error)})
                await self._until_time_to_ask()
                await self._look_up()

    async def _until_time_to_ask(self) -> None:
        asked_s = time.monotonic()
        while time.monotonic() - asked_s < self._pace.lease - self._pace.renew:
            await asyncio.sleep(min(self._pace.ask_again, self._pace.lease - self._pace.renew))
            if self._silent():
                return

    async def _fall_back(self) -> None:
        while True:
            if self._silent():
                await self._show_minute()
                await asyncio.sleep(self._pace.fall_back)
            else:
                await asyncio.sleep(self._pace.silence)

    async def _show_minute(self) -> None:
        if self._placement.reader_url is None:
            return
        try:
            now = await self._parts.history.now(self._placement.reader_url, self._household)
        except (BadRequest, Unavailable) as error:
            logger.warning("minute not shown", extra={"household": self._household, "error": str(error)})
            return
        if self._silent():
            view = now_view(now, {}, int(time.time() * 1000))
            sockets = [LiveSocket(number=socket.number, power_w=socket.power_w) for socket in view.sockets]
            self._show("minute", view.at_ms, sockets)


class LiveHomes:
    """The homes that are watched now."""

    def __init__(
        self, fleet: Fleet, edge: Edge, history: History, sign: Callable[[HouseholdId], str], pace: Pace | None = None
    ) -> None:
        self.fleet = fleet
        self.edge = edge
        self.history = history
        self.sign = sign
        self.pace = pace or Pace()
        self._homes: dict[HouseholdId, tuple[LiveHome, asyncio.Task[None]]] = {}
        self._streams: Tally[int] = Tally()

    @asynccontextmanager
    async def watch(self, household: HouseholdId, user_id: int) -> AsyncIterator[asyncio.Queue[LiveReading]]:
        """Readings of `household` for one browser of that person, while the context lasts.

        Raises Problem when the person watches too much already.
        """
        if self._streams[user_id] >= STREAMS_PER_PERSON:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "Too many live views are open. Close one first.")
        self._streams[user_id] += 1
        live = self._opened(household)
        readings = live.join()
        _STREAMS.inc()
        try:
            yield readings
        finally:
            _STREAMS.dec()
            self._streams -= Tally({user_id: 1})
            live.leave(readings)
            if not live.watched:
                await self._close(household)

    def _opened(self, household: HouseholdId) -> LiveHome:
        if household not in self._homes:
            live = LiveHome(household, self)
            task = asyncio.create_task(live.run(), name=f"live {household}")
            task.add_done_callback(_log_failure)
            self._homes[household] = (live, task)
            _HOMES.inc()
        return self._homes[household][0]

    async def _close(self, household: HouseholdId) -> None:
        _live, task = self._homes.pop(household)
        _HOMES.dec()
        task.cancel()
        await asyncio.wait([task])


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("live view failed", exc_info=error)
