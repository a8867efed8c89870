"""Sorts a batch of messages into what is stored and what is refused, and why. No message is lost between the two.

Who sent a message is its subject, which the sender's credential enforces and the ingest writes down; nothing inside a
message can say otherwise.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Settled
from wattfleet_tenants.ports import Delivery, RefusedMessage
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire.batch import PowerBatch, decode
from wattfleet_tenants.wire.messages import Messages
from wattfleet_tenants.writer.checks import FOREIGN, OVER_QUOTA, REASONS, Limits, first_objections
from wattfleet_tenants.writer.grouping import Senders, senders
from wattfleet_tenants.writer.roster import Roster

_ALL_REASONS = (*REASONS, OVER_QUOTA, FOREIGN)
_OVER_QUOTA_INDEX, _FOREIGN_INDEX = len(REASONS), len(REASONS) + 1


class Arrivals:
    """The messages of some bundles of a lane in one row; a position counts through all of them."""

    def __init__(self, lane: Lane, deliveries: Sequence[Delivery], roster: Roster) -> None:
        self._lane = lane
        self.roster = roster
        self._bundles = [delivery.bundle for delivery in deliveries]
        self._ends = np.cumsum([len(bundle) for bundle in self._bundles])
        self.receipts = [delivery.receipt for delivery in deliveries]
        self.messages = Messages(self._bundles)
        self.senders = senders(self.messages.households, roster)

    def __len__(self) -> int:
        return len(self.messages)

    def identity(self, position: int) -> str:
        """The same for the same message, however often and with whatever others it is delivered."""
        which = int(np.searchsorted(self._ends, position, side="right"))
        bundle = self._bundles[which]
        return f"{self._lane}.{bundle.run}.{bundle.number}.{int(self._ends[which]) - position}"

    def sender(self, position: int) -> HouseholdId | None:
        """Who sent the message at `position`, None where its subject names nobody."""
        return self.roster.names[int(self.senders.numbers[position])]

    def settled(self, refused: Sequence[int]) -> list[Settled]:
        """What became of each bundle, given the positions that were refused."""
        refusals = np.bincount(np.searchsorted(self._ends, refused, side="right"), minlength=len(self._bundles))
        return [
            Settled(
                self._lane,
                bundle.run,
                bundle.number,
                bundle.messages_before + len(bundle),
                len(bundle) - quarantined,
                quarantined,
            )
            for bundle, quarantined in zip(self._bundles, refusals.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Objection:
    """The message at `position` is not stored, because of `reason`. sequence: as far as it can be read."""

    position: int
    reason: str
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Sorted:
    """The outcome: good batches' positions and those of `objections` together are all messages, each once."""

    good: list[PowerBatch]
    objections: list[Objection]

    def refused(self, arrivals: Arrivals) -> list[RefusedMessage]:
        """The refused messages themselves."""
        return [
            RefusedMessage(
                arrivals.identity(one.position),
                arrivals.messages[one.position],
                one.reason,
                arrivals.sender(one.position),
                one.sequence,
            )
            for one in self.objections
        ]


def sort(
    messages: Messages,
    sent_by: Senders,
    foreign: Collection[int],
    quotas: Mapping[bytes, Quota],
    limits: Limits,
    now_ms: int,
) -> Sorted:
    """Decodes and checks `messages`; those of `foreign` senders are refused whatever they say. quotas: of those
    of the senders that have one of their own. now_ms: Unix time."""
    strangers = sent_by.mark(foreign) if foreign else None
    batches, unreadable = decode(messages, sent_by.positions)
    outcome = Sorted([], [])
    for one in unreadable:
        reason = FOREIGN if strangers is not None and strangers[one.position] else one.reason
        outcome.objections.append(Objection(one.position, reason, None))
    for batch in batches:
        objections = first_objections(batch, limits, now_ms)
        if (over := _over_quota(batch, quotas)) is not None:
            objections[over & (objections < 0)] = _OVER_QUOTA_INDEX
        if strangers is not None:
            objections[strangers[batch.positions]] = _FOREIGN_INDEX
        fine = objections < 0
        if fine.all():
            outcome.good.append(batch)
            continue
        if fine.any():
            outcome.good.append(batch.only(fine))
        outcome.objections.extend(_objections(batch.only(~fine), objections[~fine]))
    return outcome


def _over_quota(batch: PowerBatch, quotas: Mapping[bytes, Quota]) -> NDArray[np.bool_] | None:
    """Which messages of a batch have more values than their senders may; all of a batch have equally many."""
    sockets, thermometers = batch.power_dw.shape[1], batch.temperature_cc.shape[1]
    over = {household for household, quota in quotas.items() if not quota.allows(sockets, thermometers)}
    return np.isin(batch.households, list(over)) if over else None


def _objections(batch: PowerBatch, objections: NDArray[np.intp]) -> Iterator[Objection]:
    rows = zip(batch.positions.tolist(), batch.sequence.tolist(), objections.tolist(), strict=True)
    for position, sequence, objection in rows:
        yield Objection(position, _ALL_REASONS[objection], sequence)
