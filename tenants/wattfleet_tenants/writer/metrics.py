"""What a writer counts. No label carries a household: their number would be the number of series.

The `wattfleet_ledger_…` gauges are the shard's own accounts, exact over all restarts: *sent = stored + quarantined +
pending*, and `lost` is 0. The counters are this process's.
"""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from wattfleet_tenants.ledger import Totals
from wattfleet_tenants.subjects import Lane

RECEIVED = Counter("wattfleet_writer_received_total", "Messages fetched, redeliveries included")
STORED = Counter("wattfleet_writer_stored_total", "Messages that are safely stored and acknowledged")
SAMPLES = Counter("wattfleet_writer_samples_total", "Samples handed to the store, repeats included")
QUARANTINED = Counter("wattfleet_writer_quarantined_total", "Messages refused and kept in quarantine", ["reason"])
HELD = Gauge("wattfleet_writer_held", "Messages in the store's memory whose acknowledgement is held back")
WAITING = Gauge("wattfleet_writer_waiting", "Bundles in the stream that nobody fetched yet", ["lane"])
RETRIES = Counter("wattfleet_writer_retries_total", "Attempts that failed and are repeated", ["part"])
STORED_AGAIN = Counter("wattfleet_writer_stored_again_total", "Messages stored again as the store may have lost them")
GIVEN_UP = Counter("wattfleet_writer_given_up_total", "Messages left to the broker as their household may have left")
STORE_DROPPED = Gauge("wattfleet_writer_store_dropped_rows", "Rows that the store itself says it threw away")
PORTION_MESSAGES = Histogram(
    "wattfleet_writer_portion_messages",
    "Messages stored at a time",
    buckets=(1, 10, 100, 1_000, 4_000, 8_000, 16_000, 64_000),
)
STORED_SECONDS = Histogram(
    "wattfleet_writer_stored_seconds",
    "From fetched to in the store's memory",
    buckets=(0.1, 0.3, 1, 2, 4, 8, 16, 24, 48, 96),
)

SENT = Gauge("wattfleet_ledger_sent", "Messages that the shard's ingests acknowledged", ["lane"])
SETTLED_STORED = Gauge("wattfleet_ledger_stored", "Of those, messages that are safely stored", ["lane"])
SETTLED_QUARANTINED = Gauge("wattfleet_ledger_quarantined", "Of those, messages that were refused", ["lane"])
PENDING = Gauge("wattfleet_ledger_pending", "Of those, messages on their way", ["lane"])
LOST = Gauge("wattfleet_ledger_lost", "Of those, messages that are nowhere: must be 0", ["lane"])


def show(totals: Mapping[Lane, Totals]) -> None:
    """Publishes how the accounts stand."""
    for lane, one in totals.items():
        SENT.labels(lane).set(one.sent)
        SETTLED_STORED.labels(lane).set(one.stored)
        SETTLED_QUARANTINED.labels(lane).set(one.quarantined)
        PENDING.labels(lane).set(one.pending)
        LOST.labels(lane).set(one.lost)
