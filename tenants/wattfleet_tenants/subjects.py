"""Every NATS name in one place: subjects, streams, consumers, accounts.

Per shard there are two accounts. Agents live in EDGE, which has no JetStream; the stream and the writers live in ING.
EDGE imports ING's measurement subject as a service, so that a publisher's reply subject is resolved with EDGE's
rights: with one account a household could have made JetStream's acknowledgement land in another's subjects.

    m.<shard>.<household>            a minute's readings; the identity of the sender is this subject
    c.<household>                    signed commands to an agent
    q.<shard>.<household>.<reason>   what the writer refused, with why
"""

from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.shard import ShardId, parse_shard_id

UNKNOWN_HOUSEHOLD = "unknown"
"""Stands in a quarantine subject for a sender whose name is no household id."""

GATEWAY_INBOX = "_INBOX_gateway"
WRITER_INBOX = "_INBOX_writer"
READER_INBOX = "_INBOX_reader"
"""Reply subjects of one role each, so that nobody can listen to another's answers."""

WRITER_CONSUMER = "writer"
HOUSEHOLDS_BUCKET = "households"
"""The key-value bucket, one per ING account, whose keys are the households that this shard carries."""


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
    """What a shard's stream captures, and what EDGE imports from ING."""
    return f"m.{shard}.*"


def commands(household: HouseholdId) -> str:
    """Where a household's agent listens for signed commands."""
    return f"c.{household}"


def agent_inbox(household: HouseholdId) -> str:
    """The prefix of a household's own reply subjects."""
    return f"_INBOX_{household}"


def quarantine(shard: ShardId, household: str, reason: str) -> str:
    """Where a refused message of `household` is kept (UNKNOWN_HOUSEHOLD when the sender's name is no household id)."""
    return f"q.{shard}.{household}.{reason}"


def measurement_stream(shard: ShardId) -> str:
    """The JetStream stream that holds a shard's readings until they are stored."""
    return f"M-{shard}"


def quarantine_stream(shard: ShardId) -> str:
    """The JetStream stream that holds what the writer refused."""
    return f"Q-{shard}"


def household_of(subject: str, shard: ShardId) -> HouseholdId:
    """The household that a measurement subject of `shard` names.

    Raises ValueError when the subject belongs to another shard or does not name a household.
    """
    head, _, household = subject.rpartition(".")
    if head != f"m.{parse_shard_id(shard)}":
        raise ValueError(f"{subject[:80]!r} is not a measurement subject of shard {shard}")
    return parse_household_id(household)
