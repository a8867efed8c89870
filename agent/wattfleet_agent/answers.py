"""What the platform answers to a message: the ingest's receipt, or the reason why there is none."""

from collections.abc import Mapping

from wattfleet_tenants.wire import receipts

STORED = "stored"
"""The only answer that ends a message's wait."""
FULL = "full"
"""There is no room for it; there is again as soon as the writer has stored some of what waits."""
BUSY = "busy"
"""The ingest has more on its hands than it can pack at this moment."""

_VERDICTS = {receipts.ACKNOWLEDGED: STORED, receipts.FULL: FULL, receipts.BUSY: BUSY}


def verdict(headers: Mapping[str, str] | None, body: bytes) -> str:
    """STORED, or a short stable reason: FULL, BUSY, "no-responders" or "unreadable"."""
    if headers and headers.get("Status") == "503":
        return "no-responders"
    return _VERDICTS.get(body, "unreadable")
