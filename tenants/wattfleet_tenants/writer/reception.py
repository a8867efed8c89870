"""What was fetched becomes good messages, ready to be stored, and refused ones, which the quarantine keeps."""

import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.ports import Assignments, Delivery, Quarantine
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.arrived import Arrived
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.roster import Roster
from wattfleet_tenants.writer.triage import Arrivals, sort

logger = logging.getLogger(__name__)

_MOST_ON_ROSTER = 100_000
"""Some times as many households as a shard carries: those that moved away, and hostile names, do not stay for ever."""

ASKED_WITHIN_S = 30.0
"""How long the answer holds that a household belongs to the shard: longer than a portion waits for its turn while the
store keeps up, and short beside the time after which a household that has left is erased for good."""


class Reception:
    """One for all lanes of a writer."""

    def __init__(
        self, assignments: Assignments, quarantine: Quarantine, limits: Limits, persistence: Persistence
    ) -> None:
        self._assignments = assignments
        self._quarantine = quarantine
        self._limits = limits
        self._persistence = persistence
        self._roster = Roster()

    async def sort(self, lane: Lane, deliveries: Sequence[Delivery]) -> Arrived:
        """Decodes and checks all messages, however long it takes to hear who belongs to the shard."""
        since_s = time.monotonic()
        roster = self._roster_with_room()
        arrivals = Arrivals(lane, deliveries, roster)
        metrics.RECEIVED.inc(len(arrivals))
        senders = arrivals.senders
        foreign = await self._foreign(roster, senders.numbers)
        now_ms = int(time.time() * 1000)
        quotas = self._quotas(roster, senders.numbers)
        outcome = sort(arrivals.messages, senders, foreign, quotas, self._limits, now_ms)
        return Arrived(
            lane,
            arrivals.receipts,
            arrivals.settled([one.position for one in outcome.objections]),
            [(batch, senders.ranks[batch.positions]) for batch in outcome.good],
            outcome.refused(arrivals),
            since_s,
            left=sum(map(len, outcome.good)) + 1,
        )

    async def refuse(self, arrived: Arrived) -> bool:
        """Whether the quarantine keeps what was refused of `arrived`.

        It is not asked any more when that was fetched long ago: its senders may have left, and what it kept be purged.
        """

        async def attempt() -> bool:
            if time.monotonic() - arrived.since_s > ASKED_WITHIN_S:
                return False
            await self._quarantine.keep(arrived.refused)
            return True

        if not await self._persistence.until_done("quarantine", attempt):
            return False
        for one in arrived.refused:
            metrics.QUARANTINED.labels(one.reason).inc()
            extra = {"household": one.household, "sequence": one.sequence, "reason": one.reason}
            logger.warning("message refused", extra=extra)
        return True

    async def anybody_left(self, batches: Sequence[PowerBatch]) -> bool:
        """Whether not all who sent `batches` belong to the shard, however long it takes to hear that."""
        roster = self._roster_with_room()
        senders = [roster.numbers(batch.households) for batch in batches]
        return bool(await self._foreign(roster, np.concatenate(senders)))

    def _roster_with_room(self) -> Roster:
        if len(self._roster) > _MOST_ON_ROSTER:
            self._roster = Roster()
        return self._roster

    async def _foreign(self, roster: Roster, senders: NDArray[np.intp]) -> list[int]:
        """Those of the senders that are no households of this shard, however long it takes to hear who is one."""

        async def attempt() -> list[int]:
            edition = self._assignments.edition()
            asked = roster.not_accepted_in(edition, senders)
            named = [name for number in asked if (name := roster.names[number]) is not None]
            foreign = await self._assignments.foreign(named) if named else set()
            strangers = [number for number in asked if (name := roster.names[number]) is None or name in foreign]
            roster.accept(edition, sorted(set(asked).difference(strangers)))
            return strangers

        return await self._persistence.until_done("assignments", attempt)

    def _quotas(self, roster: Roster, senders: NDArray[np.intp]) -> dict[bytes, Quota]:
        """The quotas of those of the senders that have one of their own; mostly nobody has."""
        quotas = self._assignments.quotas
        if not quotas:
            return {}
        names = [roster.names[number] for number in np.unique(senders).tolist()]
        return {name.encode(): quotas[name] for name in names if name is not None and name in quotas}
