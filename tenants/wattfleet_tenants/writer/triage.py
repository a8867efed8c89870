"""Sorts a batch of messages into what is stored and what is refused, and why. No message is lost between the two.

Who sent a message is its subject, which the sender's credential enforces; nothing inside a message can say otherwise.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import Message, RefusedMessage
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.wire.batch import PowerBatch, decode
from wattfleet_tenants.writer.checks import FOREIGN, REASONS, Limits, first_objections

_ALL_REASONS = (*REASONS, FOREIGN)
_FOREIGN_INDEX = len(REASONS)


@dataclass(frozen=True, slots=True)
class Sorted:
    """The outcome: good batches' positions and `refused` together are all messages, each once."""

    good: list[PowerBatch]
    refused: list[RefusedMessage]

    def good_positions(self) -> list[int]:
        """Which of the messages are in `good`."""
        return [position for batch in self.good for position in batch.positions.tolist()]


@dataclass(frozen=True, slots=True)
class Senders:
    """Whose each message is. nobody: positions of messages whose subject names no household of the shard."""

    known: list[tuple[int, HouseholdId]]
    nobody: list[int]

    def households(self) -> set[HouseholdId]:
        """Everybody who sent something."""
        return {household for _, household in self.known}


def senders_of(messages: Sequence[Message], shard: ShardId) -> Senders:
    """Whose each of `messages` is, by its subject."""
    senders = Senders([], [])
    for position, message in enumerate(messages):
        try:
            senders.known.append((position, subjects.household_of(message.subject, shard)))
        except ValueError:
            senders.nobody.append(position)
    return senders


def sort(
    messages: Sequence[Message], senders: Senders, foreign: Set[HouseholdId], limits: Limits, now_ms: int
) -> Sorted:
    """Decodes and checks `messages`; those of `foreign` households are refused whatever they say. now_ms: Unix time."""
    outcome = Sorted([], [RefusedMessage(messages[at], FOREIGN, None, None) for at in senders.nobody])
    incoming = [(household, messages[at].payload) for at, household in senders.known]
    batches, unreadable = decode(incoming)
    for one in unreadable:
        at, household = senders.known[one.position]
        reason = FOREIGN if household in foreign else one.reason
        outcome.refused.append(RefusedMessage(messages[at], reason, household, None))
    positions = np.array([at for at, _ in senders.known], np.intp)
    for decoded in batches:
        batch = replace(decoded, positions=positions[decoded.positions])
        objections = first_objections(batch, limits, now_ms)
        if foreign:
            strangers = np.isin(batch.households, np.array(sorted(foreign), np.bytes_))
            objections[strangers] = _FOREIGN_INDEX
        outcome.good.extend([batch.only(objections < 0)] if (objections < 0).any() else [])
        outcome.refused.extend(_refusals(batch.only(objections >= 0), objections[objections >= 0], messages))
    return outcome


def _refusals(batch: PowerBatch, objections: NDArray[np.intp], messages: Sequence[Message]) -> Iterator[RefusedMessage]:
    rows = zip(batch.positions.tolist(), batch.households, batch.sequence.tolist(), objections.tolist(), strict=True)
    for position, household, sequence, objection in rows:
        name = HouseholdId(household.decode())
        yield RefusedMessage(messages[position], _ALL_REASONS[objection], name, sequence)
