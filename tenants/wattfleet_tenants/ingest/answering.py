"""Answers to agents: thousands in one piece, and only ever to the sender's own reply subjects.

A publisher chooses the reply subject. The broker lets an ingest publish to agents' inboxes alone, and the ingest
answers a home only on its own. What is left to a home is to make the broker refuse an answer, by a subject with empty
parts; those are not answered either.
"""

from collections.abc import Sequence

from wattfleet_tenants.ingest.homes import Home

MOST_REFUSALS_PER_S = 512
"""That one home is told: all that an agent has on its way (256), and its next attempts. It keeps what is not
acknowledged anyhow, and a flood is not worth as many answers."""


def answers(replies: Sequence[bytes], receipt: bytes) -> bytes:
    """Protocol lines that publish `receipt` to each of `replies` that is not empty and that the broker would take."""
    told = [reply for reply in replies if reply]
    if not told:
        return b""
    joined = b" ".join(told) + b" "
    if b".." in joined or b". " in joined:
        told = [reply for reply in told if b".." not in reply and not reply.endswith(b".")]
    end = b" %d\r\n%b\r\n" % (len(receipt), receipt)
    return b"".join((b"PUB ", (end + b"PUB ").join(told), end)) if told else b""


class RefusalLimit:
    """Keeps each home to MOST_REFUSALS_PER_S."""

    def __init__(self) -> None:
        self._second = 0
        self._told: dict[Home, int] = {}

    def told_of(self, homes: Sequence[Home], replies: Sequence[bytes], now_s: float) -> list[bytes]:
        """Those of `replies` that may be told that their messages are refused; homes[i] gets replies[i]."""
        if int(now_s) != self._second:
            self._second, self._told = int(now_s), {}
        told, counts = [], self._told
        for home, reply in zip(homes, replies, strict=True):
            count = counts.get(home, 0)
            if reply and count < MOST_REFUSALS_PER_S:
                counts[home] = count + 1
                told.append(reply)
        return told
