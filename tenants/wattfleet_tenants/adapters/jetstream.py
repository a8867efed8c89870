"""The shapes of a shard's streams, consumers and buckets: what the operator ensures, ingest and writer rely on.

Bundles of readings are work queues, one stream per lane: a bundle is gone once its samples are stored. A full stream
refuses what is new ("discard new"): agents keep it and try again, and what fills the backlog's stream takes no room
from live readings. No rollups, no message TTLs, no schedules: nobody needs that power over messages.
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

MAX_ACK_PENDING = 65_536
"""Bundles, each held for 20 s before it is acknowledged: an ingest makes 200 a second of each lane at most."""

ACK_WAIT_S = 60.0
"""Three times as long as a writer holds an acknowledgement. What a killed writer had fetched comes again after it."""

DUPLICATE_WINDOW_S = 120.0
"""An ingest that did not hear the answer publishes the same bundle again. Nobody else publishes to these streams, so
no home can use up another's message ids, as it could where homes publish themselves."""

QUARANTINED_PER_REASON = 100
"""Per household and reason; the oldest go. Enough to see what is wrong, too little to fill a disk with."""

QUARANTINE_DUPLICATE_WINDOW_S = 600.0
"""Only writers publish here, and a redelivered refusal must not count twice."""

_QUARANTINE_AGE_S = 30 * 24 * 3600.0
_QUARANTINE_BYTES = 256 * 2**20
_ASSIGNMENT_BYTES = 1024
_ACCOUNT_BYTES = 64 * 1024


def bundle_stream(shard: ShardId, lane: subjects.Lane, max_bytes: int = 2 * 2**30) -> StreamConfig:
    """What waits to be stored. max_bytes: about 170 a reading of 30 sockets; 2 GiB are 20 hours of 10,000 homes."""
    return StreamConfig(
        name=subjects.bundle_stream(shard, lane),
        description=f"Readings until they are stored: {lane}",
        subjects=[subjects.all_bundles(shard, lane)],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=max_bytes,
        duplicate_window=DUPLICATE_WINDOW_S,
        allow_direct=True,
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
    """The consumer, one per lane, that all writers of a shard share. Each bundle is acknowledged by itself, which
    costs nothing for hundreds of readings at once; with "acknowledge all", a restarted writer's first acknowledgement
    would cover what the dead one had not stored (1.65 % in a test)."""
    return ConsumerConfig(
        durable_name=subjects.WRITER_CONSUMER,
        description="Writers",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_ack_pending=MAX_ACK_PENDING,
    )


def households_bucket() -> KeyValueConfig:
    """The households that a shard carries: one key each, its value is as `adapters/assignments.py` has it."""
    return KeyValueConfig(
        bucket=subjects.HOUSEHOLDS_BUCKET,
        description="Households that this shard carries",
        history=1,
        max_value_size=_ASSIGNMENT_BYTES,
        storage=StorageType.FILE,
        direct=True,
    )


def ledger_bucket() -> KeyValueConfig:
    """What the writers have settled: one small record per lane and run of an ingest."""
    return KeyValueConfig(
        bucket=subjects.LEDGER_BUCKET,
        description="How many readings were stored and quarantined",
        history=1,
        max_value_size=_ACCOUNT_BYTES,
        storage=StorageType.FILE,
        direct=True,
    )
