"""Carries one lane's messages into its stream, one bundle at a time.

While a bundle is on its way to the disk the next ones gather, so the more comes in the larger bundles get, and the less
each message costs. One bundle at a time is enough: with one, two and three in flight a prototype took 158,000, 160,000
and 157,000 messages/s, each bundle fsynced. It keeps numbers gapless and in order, and `messages_before` exact,
whatever is refused, repeated or killed.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from wattfleet_tenants.adapters.bundles_out import StreamFull
from wattfleet_tenants.ingest import metrics
from wattfleet_tenants.ingest.packing import Parcel, Waiting
from wattfleet_tenants.ingest.world import Streams
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.bundle import Bundle, encode

logger = logging.getLogger(__name__)

LINGER_S = 0.005
"""From one bundle to the next at least, so that a middling load makes 200 bundles a second at most. A message that
comes alone does not wait."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


class Carrier:
    """One lane of one run. Awaits `confirmed` with each bundle's position in the stream and its messages, and `refused`
    with the messages that a full stream did not take, before it goes on."""

    def __init__(
        self,
        lane: Lane,
        run: str,
        streams: Streams,
        confirmed: Callable[[int, Parcel], Awaitable[None]],
        refused: Callable[[Parcel], Awaitable[None]],
    ) -> None:
        self._lane = lane
        self._run = run
        self._streams = streams
        self._confirmed = confirmed
        self._refused = refused
        self._waiting = Waiting()
        self._number = 1
        self._messages_before = 0
        self._wake = asyncio.Event()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, parcel: Parcel) -> Parcel:
        """Has `parcel` carried; returns those of it for which there is no room."""
        rest = self._waiting.add(parcel)
        metrics.WAITING.labels(self._lane).set(len(self._waiting))
        self._wake.set()
        return rest

    def stop_when_empty(self) -> None:
        """Lets `carry` return once nothing waits any more."""
        self._stopping = True
        self._wake.set()

    async def carry(self) -> None:
        """Carries for ever, or until it is stopped and done."""
        left_s = -LINGER_S
        while await self._anything_waits():
            await asyncio.sleep(left_s + LINGER_S - time.monotonic())
            left_s = time.monotonic()
            with metrics.IN_FLIGHT.labels(self._lane).track_inprogress():
                parcel = self._waiting.take_bundle()
                metrics.WAITING.labels(self._lane).set(len(self._waiting))
                await self._deliver(parcel)

    async def _anything_waits(self) -> bool:
        while not self._waiting and not self._stopping:
            self._wake.clear()
            await self._wake.wait()
        return bool(self._waiting)

    async def _deliver(self, parcel: Parcel) -> None:
        began_s = time.monotonic()
        columns = [home.column for home in parcel.homes]
        bundle = Bundle.of(self._run, self._number, self._messages_before, columns, parcel.messages)
        position = await self._publish(encode(bundle))
        if position is None:
            await self._refused(parcel)
            return
        metrics.CONFIRM_SECONDS.labels(self._lane).observe(time.monotonic() - began_s)
        metrics.BUNDLE_MESSAGES.labels(self._lane).observe(len(parcel))
        metrics.ACKNOWLEDGED.labels(self._lane).inc(len(parcel))
        self._number += 1
        self._messages_before += len(parcel)
        await self._confirmed(position, parcel)

    async def _publish(self, payload: bytes) -> int | None:
        """The bundle's position once it is in the stream, however long it takes; None when it surely is not.

        Once an answer is missing the stream may have it, and may have forgotten that. From then on it is published
        until it is there: its number must not be given to other messages.
        """
        in_doubt = False
        for pause_s in _pauses():
            try:
                return await self._streams.publish(self._lane, self._run, self._number, payload)
            except StreamFull as full:
                if not in_doubt:
                    return None
                trouble = str(full)
            except Unavailable as error:
                in_doubt = True
                trouble = str(error)
            metrics.RETRIES.labels(self._lane).inc()
            logger.warning("trying again", extra={"lane": self._lane, "bundle": self._number, "error": trouble})
            await asyncio.sleep(pause_s)
        raise AssertionError("pauses never end")


def _pauses() -> Iterator[float]:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield random.uniform(pause_s / 2, pause_s)  # noqa: S311 (jitter)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
