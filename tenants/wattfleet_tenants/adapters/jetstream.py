"""The shapes of a shard's streams, consumer and bucket: what the operator ensures and the writer relies on.

Measurements are a work queue: a message is gone once its samples are stored, so a household's limit counts what waits
and never what is done. A full quota refuses the newest ("discard new"): the agent keeps it and tries again, nobody
else notices. No rollups, no message TTLs, no schedules: each would give a publisher power over messages of others.
"""

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from wattfleet_tenants import subjects
from wattfleet_tenants.shard import ShardId

BACKLOG_PER_HOUSEHOLD = 14 * 24 * 60
"""Two weeks of minutes (4 MB) may wait per household: holidays without a writer, or a home that catches up at 1,000
messages a second, given that each is held for 20 s before it is acknowledged."""

MAX_ACK_PENDING = 200_000
"""Held for 20 s each, this lets one shard's writers do 10,000 messages a second; 10,000 homes send 167."""

ACK_WAIT_S = 60.0
"""Three times as long as a writer holds an acknowledgement. What a killed writer had fetched comes again after it."""

DUPLICATE_WINDOW_S = 0.1
"""The smallest that the server takes. Message ids are per stream, not per user: with a longer window, one household's
message could make another's "a duplicate". Deduplication is the store's work."""

QUARANTINED_PER_REASON = 100
"""Per household and reason; the oldest go. Enough to see what is wrong, too little to fill a disk with."""

QUARANTINE_DUPLICATE_WINDOW_S = 600.0
"""Only writers publish here, and a redelivered refusal must not count twice."""

_QUARANTINE_AGE_S = 30 * 24 * 3600.0
_QUARANTINE_BYTES = 256 * 2**20
_ASSIGNMENT_BYTES = 1024


def measurement_stream(shard: ShardId, max_bytes: int = 2 * 2**30) -> StreamConfig:
    """What waits to be stored. max_bytes: about 200 a message; 2 GiB are 18 hours of a shard with 10,000 homes."""
    return StreamConfig(
        name=subjects.measurement_stream(shard),
        description="Readings until they are stored",
        subjects=[subjects.all_measurements(shard)],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=BACKLOG_PER_HOUSEHOLD,
        max_bytes=max_bytes,
        duplicate_window=DUPLICATE_WINDOW_S,
        allow_rollup_hdrs=False,
    )


def quarantine_stream(shard: ShardId) -> StreamConfig:
    """What was refused, by household and reason, for 30 days."""
    return StreamConfig(
        name=subjects.quarantine_stream(shard),
        description="What the writer refused, and why",
        subjects=[subjects.quarantine(shard, "*", "*")],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_msgs_per_subject=QUARANTINED_PER_REASON,
        max_bytes=_QUARANTINE_BYTES,
        max_age=_QUARANTINE_AGE_S,
        duplicate_window=QUARANTINE_DUPLICATE_WINDOW_S,
        allow_direct=True,
        allow_rollup_hdrs=False,
    )


def writer_consumer(ack_wait_s: float = ACK_WAIT_S) -> ConsumerConfig:
    """The one consumer that all writers of a shard share. Each message is acknowledged by itself: with "acknowledge
    all", a restarted writer's first acknowledgement would cover what the dead one had not stored (1.65 % in a test)."""
    return ConsumerConfig(
        durable_name=subjects.WRITER_CONSUMER,
        description="Writers",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_ack_pending=MAX_ACK_PENDING,
    )


def households_bucket() -> KeyValueConfig:
    """The households that a shard carries: one key each, its value is the operator's business."""
    return KeyValueConfig(
        bucket=subjects.HOUSEHOLDS_BUCKET,
        description="Households that this shard carries",
        history=1,
        max_value_size=_ASSIGNMENT_BYTES,
        storage=StorageType.FILE,
        direct=True,
    )
