"""What a writer counts. No label carries a household: their number would be the number of series.

*received = stored + quarantined + held*, once redeliveries are allowed for; what waits in the broker comes on top.
"""

from prometheus_client import Counter, Gauge, Histogram

RECEIVED = Counter("wattfleet_writer_received_total", "Messages fetched, redeliveries included")
STORED = Counter("wattfleet_writer_stored_total", "Messages that are safely stored and acknowledged")
SAMPLES = Counter("wattfleet_writer_samples_total", "Samples handed to the store, repeats included")
QUARANTINED = Counter("wattfleet_writer_quarantined_total", "Messages refused and kept in quarantine", ["reason"])
HELD = Gauge("wattfleet_writer_held", "Messages in the store's memory whose acknowledgement is held back")
WAITING = Gauge("wattfleet_writer_waiting", "Messages in the stream that nobody fetched yet")
RETRIES = Counter("wattfleet_writer_retries_total", "Attempts that failed and are repeated", ["part"])
STORED_AGAIN = Counter("wattfleet_writer_stored_again_total", "Messages stored again because the store restarted")
STORE_DROPPED = Gauge("wattfleet_writer_store_dropped_rows", "Rows that the store itself says it threw away")
BATCH_MESSAGES = Histogram(
    "wattfleet_writer_batch_messages", "Messages per batch", buckets=(1, 10, 100, 500, 1_000, 2_000, 4_000, 8_000)
)
BATCH_SECONDS = Histogram("wattfleet_writer_batch_seconds", "From fetched to in the store's memory")
