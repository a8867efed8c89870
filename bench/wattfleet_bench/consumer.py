"""The bare consumer: `python -m wattfleet_bench.consumer SETTINGS` (JSON) takes all readings of a shard and drops them.

It answers for a thousand messages at a time, so that what is measured is the broker and not the answers. It stands in
for an ingest where the broker alone is looked at, with an ingest's own rights.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from wattfleet_tenants import subjects
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.programs import Program

from wattfleet_bench.answers import CREDIT
from wattfleet_bench.nats_line import connect_with_file

_READ_BYTES = 1 << 20
_CREDIT_EVERY = 1_000
_CONNECTED = "connected"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where it listens, and with which .creds file."""

    url: str
    credentials: str
    shard: str


class ConsumerProcess(Program):
    """The bare consumer as a process of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        log = folder / "consumer.log"
        argv = [sys.executable, "-m", "wattfleet_bench.consumer", json.dumps(asdict(settings))]
        super().__init__(argv, log, lambda: _CONNECTED in log.read_text())


def count_messages(data: bytes) -> tuple[int, int]:
    """How many whole messages `data` begins with, and how many bytes they and the lines between them are."""
    messages = at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        if not data.startswith(b"MSG ", at):
            at = end + 2
            continue
        after = end + 2 + int(data[data.rfind(b" ", at, end) + 1 : end]) + 2
        if after > len(data):
            break
        messages, at = messages + 1, after
    return messages, at


def main() -> None:
    """Takes messages until it is killed."""
    settings = Settings(**json.loads(sys.argv[1]))
    line = connect_with_file(settings.url, Path(settings.credentials))
    line.settimeout(None)
    subject = subjects.all_measurements(ShardId(settings.shard))
    line.sendall(f"SUB {subject} {subjects.INGEST_QUEUE} 1\r\nPING\r\n".encode())
    print(_CONNECTED, flush=True)
    rest, taken = b"", 0
    while arrived := line.recv(_READ_BYTES):
        data = rest + arrived
        count, at = count_messages(data)
        if b"PING\r\n" in arrived:
            line.sendall(b"PONG\r\n")
        rest, taken = data[at:], taken + count
        if taken >= _CREDIT_EVERY or (taken and not rest):
            said = b"%d" % taken
            line.sendall(f"PUB {CREDIT} {len(said)}\r\n".encode() + said + b"\r\n")
            taken = 0


if __name__ == "__main__":
    main()
