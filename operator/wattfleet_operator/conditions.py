"""What a reconcile's outcome looks like in a resource's status, in the form that Kubernetes' tools understand.

Three statements are always made: Ready (it works), Reconciling (it is on its way and needs nobody), Stalled (it cannot
go on without help). `last_transition_time` moves only when a statement's truth changes, so that it says since when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from wattfleet_tenants.crd import Condition, ConditionType, Status

from wattfleet_operator.errors import NotYet, Refused

AnyStatus = TypeVar("AnyStatus", bound=Status)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which of the three statements are true now, and why."""

    reason: str
    message: str = ""
    ready: bool = False
    reconciling: bool = False
    stalled: bool = False


READY = Outcome("Ready", ready=True)
SUSPENDED = Outcome("Suspended", "Its agent is cut off until spec.suspended is false again.")


def outcome_of(error: Exception) -> Outcome:
    """How a reconcile that ended in `error` stands. An unforeseen error is retried, and its text stays in the log."""
    match error:
        case NotYet():
            return Outcome(error.reason, error.message, reconciling=True)
        case Refused():
            return Outcome(error.reason, error.message, stalled=True)
        case _:
            return Outcome("UnexpectedError", f"{type(error).__name__}; the operator's log says more", reconciling=True)


def reported(status: AnyStatus, outcome: Outcome, generation: int, now: datetime) -> AnyStatus:
    """`status` with the conditions that `outcome` of looking at `generation` means."""
    truths = {
        ConditionType.READY: outcome.ready,
        ConditionType.RECONCILING: outcome.reconciling,
        ConditionType.STALLED: outcome.stalled,
    }
    conditions = [
        _condition(status.conditions, type_, Outcome(outcome.reason, outcome.message, ready=truth), generation, now)
        for type_, truth in truths.items()
    ]
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})


def _condition(
    before: Sequence[Condition], type_: ConditionType, outcome: Outcome, generation: int, now: datetime
) -> Condition:
    truth: Literal["True", "False"] = "True" if outcome.ready else "False"
    previous = next((c for c in before if c.type == type_ and c.status == truth), None)
    return Condition(
        type=type_,
        status=truth,
        reason=outcome.reason,
        message=outcome.message,
        observed_generation=generation,
        last_transition_time=previous.last_transition_time if previous else now,
    )
