"""How the servers behind a shard are set, wherever they run: what our promises and our speed rest on.

Whatever starts a server adds its own addresses, folders and limits.
"""

STORE_FLUSH_S = 5
"""How long VictoriaMetrics may keep a sample in memory only. A writer acknowledges well after that."""

STORE_FLAGS = (
    # Redelivered samples have the same timestamp: one of them is kept.
    "-dedup.minScrapeInterval=1ms",
    "-search.latencyOffset=0s",
)

STORE_ENVIRONMENT = {"GOGC": "100"}
"""VictoriaMetrics chooses 30 for itself, to save memory. With Go's own 100 a backlog of 60,000 and 600,000 series costs
it 13-15 % less CPU (0.60 -> 0.52 and 1.23 -> 1.04 CPU-s per million samples), for 730 instead of 570 MB and 1.8
instead of 1.1 GB at the peak; 200 saves nothing more."""

# disable_sublist_cache: a home's subjects are its own, and there are more homes than the cache has places (1,024).
BROKER_SETTINGS = """\
# A bundle of readings, or an account's token with thousands of revocations; a household's template allows it 16 KiB.
max_payload: 1MB
disable_sublist_cache: true
"""
