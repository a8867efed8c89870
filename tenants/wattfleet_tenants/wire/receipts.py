"""What an ingest answers an agent, one short word per message of readings."""

ACKNOWLEDGED = b"ok"
"""The message is in the broker's stream, on disk."""
FULL = b"full"
"""There is no room for it now: the stream's, or the household's own share of it."""
BUSY = b"busy"
"""The ingest has more on its hands than it can pack; ask again soon."""
