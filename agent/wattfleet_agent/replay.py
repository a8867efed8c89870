"""Sends a recorded house with its own timestamps; the same file gives the same messages each time, stored once.

How far it came is kept in the outbox, in the transaction that stores the minutes, so that a replay that was killed goes
on where it was when it is started again.
"""

import time
from dataclasses import dataclass
from itertools import islice

from wattfleet_agent import metrics
from wattfleet_agent.catch_up import CatchUp
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.publisher import Publisher
from wattfleet_agent.recorded_house import RecordedHouse
from wattfleet_agent.sensors import Minute


@dataclass(frozen=True, slots=True)
class Replayed:
    """How far a replay came: minutes in the file, acknowledged ones, and how long it took in s."""

    minutes: int
    acknowledged: int
    took_s: float

    @property
    def complete(self) -> bool:
        """Whether the platform holds every minute of the file."""
        return self.acknowledged == self.minutes


class Replay:
    """Sends `house`, which has `minutes` minutes, through `outbox`."""

    def __init__(self, house: RecordedHouse, minutes: int, outbox: Outbox, publisher: Publisher) -> None:
        self._house = house
        self._minutes = minutes
        self._outbox = outbox
        self._publisher = publisher
        self._fingerprint = house.fingerprint()
        self._put = self._position()
        self._begun_at_s = time.monotonic()

    async def run(self) -> None:
        """Returns when all of it is acknowledged."""
        rest = islice(self._house.minutes(), self._put, None)
        until_ms, look = int(time.time() * 1000), self._publisher.look
        with CatchUp("replay", self._outbox, self._minutes - self._put, until_ms, look) as catch_up:
            await catch_up.feed(rest, self._store)
        self._outbox.set_bookmark("")

    def outcome(self) -> Replayed:
        """How far it came by now."""
        acknowledged = max(0, self._put - self._outbox.state().waiting)
        return Replayed(self._minutes, acknowledged, time.monotonic() - self._begun_at_s)

    def _position(self) -> int:
        fingerprint, _, minutes = self._outbox.bookmark.rpartition(" ")
        return int(minutes) if fingerprint == self._fingerprint else 0

    def _store(self, minutes: list[Minute]) -> None:
        put = self._put + len(minutes)
        self._outbox.append(minutes, once=False, bookmark=f"{self._fingerprint} {put}")
        self._put = put
        metrics.RECORDED.inc(len(minutes))
