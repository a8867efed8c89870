"""What was fetched becomes good messages, ready to be stored, and refused ones, which the quarantine keeps."""

import logging
import time
from collections.abc import Mapping, Sequence

import numpy as np

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import Assignments, Delivery, Quarantine
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import metrics
from wattfleet_tenants.writer.arrived import Arrived
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.persistence import Persistence
from wattfleet_tenants.writer.triage import Arrivals, Names, sort

logger = logging.getLogger(__name__)

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
        self._names = Names()

    async def sort(self, lane: Lane, deliveries: Sequence[Delivery]) -> Arrived:
        """Decodes and checks all messages, however long it takes to hear who belongs to the shard."""
        since_s = time.monotonic()
        arrivals = Arrivals(lane, deliveries)
        metrics.RECEIVED.inc(len(arrivals))
        names = self._names.of(arrivals.senders.names)
        foreign = await self._foreign(names)
        now_ms = int(time.time() * 1000)
        outcome = sort(arrivals.messages, arrivals.senders, foreign, self._quotas(names), self._limits, now_ms)
        ranks = arrivals.senders.rank_of_each()
        return Arrived(
            lane,
            arrivals.receipts,
            arrivals.settled([one.position for one in outcome.objections]),
            [(batch, ranks[batch.positions]) for batch in outcome.good],
            outcome.refused(arrivals, names),
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
        tokens = {token for batch in batches for token in np.unique(batch.households).tolist()}
        return bool(await self._foreign(self._names.of(tokens)))

    async def _foreign(self, names: Mapping[bytes, HouseholdId | None]) -> set[bytes]:
        """Those of the senders that are no households of this shard."""
        households = [name for name in names.values() if name is not None]
        strangers = await self._persistence.until_done("assignments", lambda: self._assignments.foreign(households))
        return {token for token, name in names.items() if name is None or name in strangers}

    def _quotas(self, names: Mapping[bytes, HouseholdId | None]) -> dict[bytes, Quota]:
        """The quotas of those of the senders that have one of their own; mostly nobody has."""
        quotas = self._assignments.quotas
        return {token: quotas[name] for token, name in names.items() if name and name in quotas} if quotas else {}
