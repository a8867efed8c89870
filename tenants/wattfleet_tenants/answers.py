"""What a reader answers: columns of numbers by socket, with what was measured beside what was summed.

A bucket without a single reading has no value (None), not zero; `measured` says which share of a bucket's intervals
has a reading. The gateway adds names and local time; nothing is estimated here.
"""

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SocketNow(_Answer):
    """The last reading of a socket: mean power in W over the interval that began at `at_ms` (Unix time, ms)."""

    number: int
    power_w: float
    at_ms: int


class Now(_Answer):
    """The last reading of every socket that ever sent within the last day."""

    sockets: list[SocketNow]


class SocketBuckets(_Answer):
    """One socket over the buckets: the sum of its readings in W (None without any), and how many there were."""

    number: int
    sum_w: list[float | None]
    count: list[int]


class Buckets(_Answer):
    """Readings gathered in buckets. Bucket i is [start_ms[i], end_ms[i]) (Unix time, ms)."""

    start_ms: list[int]
    end_ms: list[int]
    sockets: list[SocketBuckets]


class Refused(_Answer):
    """What the writer refused of a household for one reason. count stops at the quarantine's limit per reason."""

    reason: str
    count: int
    last_ms: int
