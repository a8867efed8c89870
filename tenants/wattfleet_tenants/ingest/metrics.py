"""What an ingest counts. No label carries a household: their number would be the number of series.

*received = acknowledged + refused + waiting + in flight*. Refused is not lost: the home keeps what is not acknowledged.
"""

from prometheus_client import Counter, Gauge, Histogram

RECEIVED = Counter("wattfleet_ingest_received_total", "Messages that homes sent, repeats included")
ACKNOWLEDGED = Counter("wattfleet_ingest_acknowledged_total", "Messages that are in a stream, on disk", ["lane"])
REFUSED = Counter(
    "wattfleet_ingest_refused_total",
    "Messages not taken: answered full or busy, or dropped without an answer",
    ["reason"],
)
WITHHELD = Counter("wattfleet_ingest_withheld_total", "Messages whose reply subject is not one of their sender's")
WAITING = Gauge("wattfleet_ingest_waiting", "Messages that wait to be packed", ["lane"])
IN_FLIGHT = Gauge("wattfleet_ingest_bundles_in_flight", "Bundles published and not confirmed yet", ["lane"])
RETRIES = Counter("wattfleet_ingest_retries_total", "Attempts that failed and are repeated", ["part"])
BUNDLE_MESSAGES = Histogram(
    "wattfleet_ingest_bundle_messages",
    "Messages per confirmed bundle",
    ["lane"],
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 2_000, 4_000),
)
CONFIRM_SECONDS = Histogram(
    "wattfleet_ingest_confirm_seconds",
    "From a bundle's first attempt to its confirmation",
    ["lane"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 30),
)
