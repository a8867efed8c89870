"""What comes back to the bare publisher: counted in bulk, and read one by one only where it is not as usual.

The usual answer is equally long for every message, so when the bytes that arrived are as long as that many usual
answers, nothing else can be among them: 0.03 us an answer. An ingest's "busy" and "full", a stream's own
acknowledgements, credits of a bulk consumer and the server's pings are found line by line, by the sizes they name.
"""

import re
from dataclasses import dataclass, field

from wattfleet_tenants.wire.receipts import ACKNOWLEDGED, BUSY, FULL

from wattfleet_bench.blobs import REPLY_TOKEN, answer_bytes

CREDIT = f"_INBOX.credit.{REPLY_TOKEN}.0.0"
"""A consumer that answers in bulk says on this subject how many messages it took, of the first connection."""

_USUAL_END = b"\r\n" + ACKNOWLEDGED + b"\r\n"
_LINE = re.compile(rb"(MSG|HMSG|PING|PONG|\+OK|INFO|-ERR)([^\r\n]*)\r\n")


@dataclass(slots=True)
class Heard:
    """acknowledged: how many messages. refused: reply subject and reason of each. pings: how many want an answer."""

    acknowledged: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    pings: int = 0


class Answers:
    """The answers on one connection; bytes go in as they arrive, cut anywhere."""

    def __init__(self, connection: int) -> None:
        self._usual_bytes = answer_bytes(connection)
        self._rest = b""

    def take(self, arrived: bytes) -> Heard:
        """What is whole by now; raises ConnectionError for an error of the server and for what is no answer."""
        data = self._rest + arrived
        heard = Heard()
        usual = data.count(_USUAL_END)
        end = data.rfind(_USUAL_END) + len(_USUAL_END) if usual else 0
        if end == usual * self._usual_bytes:
            heard.acknowledged = usual
            data = data[end:]
        if data.endswith(b"\r\n") or len(data) > self._usual_bytes:
            data = data[_read_one_by_one(data, heard) :]
        self._rest = data
        return heard


def _read_one_by_one(data: bytes, heard: Heard) -> int:
    """Reads every whole line and message; returns how many bytes they were."""
    at = 0
    while line := _LINE.match(data, at):
        kind, rest = line.groups()
        at_end = line.end()
        if kind == b"PING":
            heard.pings += 1
        elif kind == b"-ERR":
            raise ConnectionError(f"the server says: {rest.decode(errors='replace')}")
        elif kind == b"HMSG":
            raise ConnectionError("nobody takes the readings")
        elif kind == b"MSG":
            subject, *_, size = rest.decode().split()
            answer = data[at_end : at_end + int(size)]
            at_end += int(size) + len(b"\r\n")
            if at_end > len(data):
                break
            _settle(subject, answer, heard)
        at = at_end
    return at


def _settle(subject: str, answer: bytes, heard: Heard) -> None:
    if subject == CREDIT:
        heard.acknowledged += int(answer)
    elif answer == ACKNOWLEDGED or (answer.startswith(b"{") and b'"error"' not in answer):
        heard.acknowledged += 1
    elif answer in (BUSY, FULL):
        heard.refused.append((subject, answer.decode()))
    else:
        raise ConnectionError(f"an answer that is none, on {subject}: {answer[:100]!r}")
