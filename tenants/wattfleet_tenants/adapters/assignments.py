"""Which households a shard carries, from a key-value bucket that the operator keeps.

All keys are loaded before the first message is looked at, then watched. A household that is not among them is looked
up once more by itself before it is called foreign, so that a newborn's first message is never refused because the
watch is late. The watch begins anew after every reconnect, and every few minutes anyway: a missed event lasts no
longer than that.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection

import nats.errors
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import Unavailable

logger = logging.getLogger(__name__)

_WATCH_ANEW_S = 300.0
_PAUSE_S = 1.0
_FAILURES = (OSError, TimeoutError, nats.errors.Error)


class WatchedAssignments:
    """Run `keep_watching` as a task beside whoever asks `foreign`."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._carried: set[str] = set()
        self._reconnected = asyncio.Event()
        self.loaded = asyncio.Event()
        connection.on_reconnected.append(self._reconnected.set)

    async def foreign(self, households: Collection[HouseholdId]) -> set[HouseholdId]:
        """Those of `households` that the shard does not carry; raises Unavailable when that cannot be told."""
        unknown = [household for household in households if household not in self._carried]
        if not unknown:
            return set()
        try:
            bucket = await self._bucket()
            found = await asyncio.gather(*[_holds(bucket, household) for household in unknown])
        except _FAILURES as error:
            raise Unavailable(f"the shard's households cannot be looked up: {describe(error)}") from error
        carried = {household for household, holds in zip(unknown, found, strict=True) if holds}
        self._carried |= carried
        return set(unknown) - carried

    async def keep_watching(self) -> None:
        """Follows the bucket for as long as the connection is not closed."""
        while not self._connection.is_closed:
            try:
                await self._watch()
            except (*_FAILURES, Unavailable) as error:
                logger.warning("households are not watched", extra={"error": describe(error)})
                await asyncio.sleep(_PAUSE_S)

    async def _watch(self) -> None:
        self._reconnected.clear()
        watcher = await (await self._bucket()).watchall(headers_only=True)
        carried: set[str] = set()
        anew_at = time.monotonic() + _WATCH_ANEW_S
        try:
            while time.monotonic() < anew_at and not self._reconnected.is_set():
                try:
                    entry = await watcher.updates(timeout=_PAUSE_S)  # type: ignore[no-untyped-call]
                except nats.errors.TimeoutError:
                    continue
                if entry is None:
                    self._carried = carried
                    self.loaded.set()
                elif entry.operation in ("DEL", "PURGE"):
                    carried.discard(entry.key)
                else:
                    carried.add(entry.key)
        finally:
            with contextlib.suppress(*_FAILURES):  # an error here would stand in for being cancelled
                await watcher.stop()  # type: ignore[no-untyped-call]

    async def _bucket(self) -> KeyValue:
        self._connection.require_connected()
        return await self._connection.jetstream().key_value(subjects.HOUSEHOLDS_BUCKET)


async def _holds(bucket: KeyValue, household: HouseholdId) -> bool:
    try:
        await bucket.get(household)
    except KeyNotFoundError:
        return False
    return True
