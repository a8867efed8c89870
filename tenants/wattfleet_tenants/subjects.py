"""Every NATS name in one place: subjects, streams, consumers, accounts.

Per shard there are two accounts. Agents live in EDGE, which has no JetStream; the streams and the writers live in ING.
Nothing leads from one to the other but the shard's ingest, which is in both: it takes readings in EDGE, packs those of
many homes into bundles, and answers a home when its bundle is on disk in ING. So no publisher can choose a subject
that anything in ING is sent to.

    m.<shard>.<household>            a minute's readings; the identity of the sender is this subject
    _INBOX.<household>.…             what a household's agent is answered on
    c.<household>                    signed commands to an agent
    b.<shard>.<lane>.<run>           bundles of one run of the ingest
    q.<shard>.<household>.<reason>   what the writer refused, with why
"""

from enum import StrEnum

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

UNKNOWN_HOUSEHOLD = "unknown"
"""Stands in a quarantine subject for a sender whose name is no household id."""

GATEWAY_INBOX = "_INBOX_gateway"
INGEST_INBOX = "_INBOX_ingest"
WRITER_INBOX = "_INBOX_writer"
READER_INBOX = "_INBOX_reader"
"""Reply subjects of one role each, so that nobody can listen to another's answers."""

INGEST_QUEUE = "ingest"
"""The queue group of a shard's ingests: each message goes to one of them."""
WRITER_CONSUMER = "writer"
HOUSEHOLDS_BUCKET = "households"
"""The key-value bucket, one per ING account, whose keys are the households that this shard carries; their values say
what is special about them."""
LEDGER_BUCKET = "ledger"
"""The key-value bucket in which the writers keep count of what they settled; one key per lane and run."""


class Lane(StrEnum):
    """Two ways through a shard, with a stream each: what a home catches up with never stands before what is new."""

    LIVE = "live"
    BACKLOG = "backlog"


def edge_account(shard: ShardId) -> str:
    """The name of the account that a shard's agents and the gateway use."""
    return f"EDGE-{shard}"


def ing_account(shard: ShardId) -> str:
    """The name of the account that holds a shard's stream, writers and readers."""
    return f"ING-{shard}"


def measurements(shard: ShardId, household: HouseholdId) -> str:
    """Where one household of a shard publishes its readings."""
    return f"m.{shard}.{household}"


def all_measurements(shard: ShardId) -> str:
    """What a shard's ingests take."""
    return f"m.{shard}.*"


def commands(household: HouseholdId) -> str:
    """Where a household's agent listens for signed commands."""
    return f"c.{household}"


def agent_inbox(household: HouseholdId) -> str:
    """The prefix of a household's own reply subjects."""
    return f"_INBOX.{household}"


def quarantine(shard: ShardId, household: str, reason: str) -> str:
    """Where a refused message of `household` is kept (UNKNOWN_HOUSEHOLD when the sender's name is no household id)."""
    return f"q.{shard}.{household}.{reason}"


def bundles(shard: ShardId, lane: Lane, run: str) -> str:
    """Where one run of an ingest publishes the bundles of a lane."""
    return f"b.{shard}.{lane}.{run}"


def all_bundles(shard: ShardId, lane: Lane) -> str:
    """What the stream of a lane captures."""
    return f"b.{shard}.{lane}.*"


def bundle_stream(shard: ShardId, lane: Lane) -> str:
    """The JetStream stream that holds a lane's readings until they are stored."""
    return f"M-{shard}-{lane}"


def ledger_key(lane: Lane, run: str) -> str:
    """Where the ledger counts the bundles of one run and lane."""
    return f"{lane}.{run}"


def quarantine_stream(shard: ShardId) -> str:
    """The JetStream stream that holds what the writer refused."""
    return f"Q-{shard}"
