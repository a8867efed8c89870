"""Many homes, each over a connection and with a credential of its own: `python -m wattfleet_bench.many_homes SETTINGS`.

As real as agents to the broker (one subscription, one message at a time), as cheap as possible to run by the thousand.
It connects, says so, and then for each line of its input sends so many minutes of all homes at so many messages a
second, and says when every one is acknowledged.
"""

import json
import select
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.wire.receipts import ACKNOWLEDGED

from wattfleet_bench.blobs import Blobs
from wattfleet_bench.homes import Homes
from wattfleet_bench.nats_line import connect

_ANSWER = b"\r\n" + ACKNOWLEDGED + b"\r\n"
_PACE_S = 0.002
_SILENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Settings:
    """credentials: a file with the homes' .creds texts as a JSON list, in the order of their numbers."""

    url: str
    credentials: str
    shard: str
    homes: int
    day_ms: int
    seed: int = 1


def open_lines(settings: Settings) -> list[socket.socket]:
    """One signed-in connection per home, listening for its answers."""
    homes = Homes(settings.homes, settings.day_ms, settings.seed)
    lines = []
    credentials = json.loads(Path(settings.credentials).read_text())
    for household, creds in zip(homes.households(), credentials, strict=True):
        line = connect(settings.url, creds)
        line.sendall(f"SUB {subjects.agent_inbox(HouseholdId(household))}.> 1\r\n".encode())
        lines.append(line)
    return lines


def send(lines: list[socket.socket], blobs: Blobs, minutes: range, per_s: float) -> int:
    """Sends these minutes of all homes in turn; returns how many messages, once all are acknowledged."""
    poll = select.epoll()
    by_number = {line.fileno(): line for line in lines}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    began_s = heard_s = time.monotonic()
    sent = acknowledged = 0
    total = len(lines) * len(minutes)
    blob, width = b"", 0
    while acknowledged < total:
        now_s = time.monotonic()
        due = min(total, int((now_s - began_s) * per_s))
        for message in range(sent, due):
            turn, home = divmod(message, len(lines))
            if home == 0:
                blob = blobs.of_minute(minutes[turn], 0, len(lines))
                width = len(blob) // len(lines)
            lines[home].sendall(blob[home * width : (home + 1) * width])
        sent = due
        for number, _ in poll.poll(_PACE_S):
            arrived = by_number[number].recv(4096)
            if b"PING\r\n" in arrived:
                by_number[number].sendall(b"PONG\r\n")
            acknowledged += arrived.count(_ANSWER)
            heard_s = now_s
        if now_s - heard_s > _SILENCE_S:
            raise TimeoutError(f"{acknowledged} of {sent} messages were acknowledged")
    poll.close()
    return sent


def main() -> None:
    """Connects, then does what the lines of the standard input say until it ends."""
    settings = Settings(**json.loads(sys.argv[1]))
    lines = open_lines(settings)
    homes = Homes(settings.homes, settings.day_ms, settings.seed)
    blobs = Blobs(homes, ShardId(settings.shard), (0, settings.homes))
    print(json.dumps({"event": "connected"}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        minutes = range(order["first_minute"], order["first_minute"] + order["minutes"])
        print(json.dumps({"event": "sent", "messages": send(lines, blobs, minutes, order["per_s"])}), flush=True)


if __name__ == "__main__":
    main()
