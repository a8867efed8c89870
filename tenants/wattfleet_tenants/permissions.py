"""What each kind of NATS user may do, and nothing more.

One function per role. A household may publish to exactly one subject, without a wildcard below it, so that it cannot
fill the stream with subjects; live readings need no second one, because a command's reply subject may be answered for
as long as its lease (`responses`).
"""

from dataclasses import dataclass
from typing import Any

from wattfleet_tenants import subjects
from wattfleet_tenants.shard import ShardId

LIVE_LEASE_S = 30
"""How long an agent answers one live command."""
LIVE_MESSAGES_PER_LEASE = 60
"""Two a second at the very most."""

_HOUSEHOLD = "{{name()}}"
# Far above the wire's own limit, so that an oversized message reaches the quarantine instead of cutting its sender off.
_HOUSEHOLD_PAYLOAD_BYTES = 16_384
# An agent has two. Without a limit one home made the broker hold 310,000 in six seconds: 470 MB, never given back.
_HOUSEHOLD_SUBSCRIPTIONS = 16


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish and subscribe to; everything else is refused.

    responses: whether it may answer the reply subjects of messages it received, within the limits of a live lease.
    max_payload_bytes, max_subscriptions: of one message and of one connection; -1 is no limit.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    responses: bool = False
    max_payload_bytes: int = -1
    max_subscriptions: int = -1

    def claims(self) -> dict[str, Any]:
        """As they stand in a token. An empty list would mean "everything", hence the explicit denial."""
        claims: dict[str, Any] = {
            "pub": {"allow": list(self.publish)} if self.publish else {"deny": [">"]},
            "sub": {"allow": list(self.subscribe)} if self.subscribe else {"deny": [">"]},
            "allowed_connection_types": ["STANDARD"],
        }
        if self.responses:
            claims["resp"] = {"max": LIVE_MESSAGES_PER_LEASE, "ttl": LIVE_LEASE_S * 1_000_000_000}
        return claims


def household() -> Permissions:
    """The template of all households: name() is the household id in the user's token."""
    return Permissions(
        publish=(f"m.*.{_HOUSEHOLD}",),
        subscribe=(f"c.{_HOUSEHOLD}", f"_INBOX.{_HOUSEHOLD}.>"),
        responses=True,
        max_payload_bytes=_HOUSEHOLD_PAYLOAD_BYTES,
        max_subscriptions=_HOUSEHOLD_SUBSCRIPTIONS,
    )


def gateway() -> Permissions:
    """In EDGE: sends commands, hears the live readings that answer them."""
    return Permissions(publish=("c.*",), subscribe=(f"{subjects.GATEWAY_INBOX}.>",))


def ingest_edge(shard: ShardId) -> Permissions:
    """In EDGE: takes the readings of all homes, and answers agents; only reply subjects of agents are within reach."""
    return Permissions(
        publish=("_INBOX.*.>",), subscribe=(subjects.all_measurements(shard), f"{subjects.INGEST_INBOX}.>")
    )


def ingest(shard: ShardId) -> Permissions:
    """In ING: publishes bundles, looks how far the streams are, and reads the households' quotas."""
    return Permissions(
        publish=(
            *(subjects.all_bundles(shard, lane) for lane in subjects.Lane),
            *(f"$JS.API.STREAM.INFO.{subjects.bundle_stream(shard, lane)}" for lane in subjects.Lane),
            f"$JS.API.DIRECT.GET.KV_{subjects.HOUSEHOLDS_BUCKET}",
        ),
        subscribe=(f"{subjects.INGEST_INBOX}.>",),
    )


def writer(shard: ShardId) -> Permissions:
    """In ING: takes bundles, files what it refuses, keeps the ledger, reads which households the shard carries."""
    consumer = subjects.WRITER_CONSUMER
    streams = [subjects.bundle_stream(shard, lane) for lane in subjects.Lane]
    households, ledger = f"KV_{subjects.HOUSEHOLDS_BUCKET}", f"KV_{subjects.LEDGER_BUCKET}"
    return Permissions(
        publish=(
            *(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}" for stream in streams),
            *(f"$JS.ACK.{stream}.{consumer}.>" for stream in streams),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in streams),
            *(f"$JS.API.DIRECT.GET.{stream}.b.{shard}.*.*" for stream in streams),
            f"q.{shard}.*.*",
            f"$JS.API.STREAM.INFO.{ledger}",
            f"$JS.API.DIRECT.GET.{ledger}.$KV.{subjects.LEDGER_BUCKET}.>",
            f"$KV.{subjects.LEDGER_BUCKET}.>",
            f"$JS.API.DIRECT.GET.{households}",
            f"$JS.API.DIRECT.GET.{households}.$KV.{subjects.HOUSEHOLDS_BUCKET}.*",
        ),
        subscribe=(f"{subjects.WRITER_INBOX}.>",),
    )


def reader(shard: ShardId) -> Permissions:
    """In ING: counts what was refused of a household, and reads the last of each reason."""
    stream = subjects.quarantine_stream(shard)
    return Permissions(
        publish=(f"$JS.API.STREAM.INFO.{stream}", f"$JS.API.DIRECT.GET.{stream}.q.{shard}.*.*"),
        subscribe=(f"{subjects.READER_INBOX}.>",),
    )


def operator() -> Permissions:
    """In ING and in the system account: ensures streams, consumers, households, accounts."""
    return Permissions(publish=(">",), subscribe=(">",))
