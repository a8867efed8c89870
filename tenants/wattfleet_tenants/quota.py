"""How much of its shard one household may take. Without a quota of its own a home may take all that the wire allows.

A backlog's share is counted in messages, one a minute; what is stored in sockets and thermometers, since each of them
is a series, and series are what a store costs.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wattfleet_tenants.socket import MAX_SOCKETS

MOST_BACKLOG_DAYS = 14
_MESSAGES_PER_DAY = 24 * 60


def _from_to(least: int, most: int, so: str) -> dict[str, Any]:
    """What the API server says of a number out of bounds."""
    rule = {"rule": f"{least} <= self && self <= {most}", "message": f"it must be from {least} to {most}: {so}"}
    return {"x-kubernetes-validations": [rule]}


class Quota(BaseModel):
    """The most that a household may take of its shard. What is stored already stays when a quota is lowered."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )

    backlog_days: int = Field(
        default=MOST_BACKLOG_DAYS,
        ge=1,
        le=MOST_BACKLOG_DAYS,
        description="How many days of what it catches up with may wait in its shard to be stored. What is beyond is "
        "not lost: it waits in its agent's outbox until there is room.",
        json_schema_extra=_from_to(1, MOST_BACKLOG_DAYS, "what is beyond waits in its agent's outbox anyway"),
    )
    sockets: int = Field(
        default=MAX_SOCKETS,
        ge=1,
        le=MAX_SOCKETS,
        description="How many sockets it may have. A message with more is not stored: it goes to quarantine, and the "
        "home's page says so.",
        json_schema_extra=_from_to(1, MAX_SOCKETS, "no message holds more sockets; to stop a home, suspend it"),
    )
    thermometers: int = Field(
        default=MAX_SOCKETS,
        ge=0,
        le=MAX_SOCKETS,
        description="How many thermometers it may have. A message with more goes to quarantine as well.",
        json_schema_extra=_from_to(0, MAX_SOCKETS, "no message holds more thermometers"),
    )

    @property
    def backlog_messages(self) -> int:
        """The same as messages of a minute each."""
        return self.backlog_days * _MESSAGES_PER_DAY

    def allows(self, sockets: int, thermometers: int) -> bool:
        """Whether a message may have so many of each."""
        return sockets <= self.sockets and thermometers <= self.thermometers


DEFAULT_QUOTA = Quota()
