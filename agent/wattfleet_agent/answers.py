"""What the platform answers to a message: JetStream's acknowledgement, or the reason why there is none."""

import json
from collections.abc import Mapping

STORED = "stored"
"""The only answer that ends a message's wait."""
FULL = "full"
"""The household's share of the stream is used up; there is room again as soon as the writer has stored some."""


def verdict(headers: Mapping[str, str] | None, body: bytes) -> str:
    """STORED, or a short stable reason: "full", "no-responders", "unreadable", "refused"."""
    if headers and headers.get("Status") == "503":
        return "no-responders"
    try:
        answer = json.loads(body)
    except ValueError:
        return "unreadable"
    if not isinstance(answer, dict):
        return "unreadable"
    if error := answer.get("error"):
        description = str(error.get("description", "")) if isinstance(error, dict) else ""
        # "maximum messages per subject exceeded", "maximum bytes exceeded", …: one error code for several limits.
        return FULL if description.startswith("maximum") else "refused"
    if isinstance(answer.get("stream"), str) and isinstance(answer.get("seq"), int) and answer["seq"] > 0:
        return STORED
    return "unreadable"
