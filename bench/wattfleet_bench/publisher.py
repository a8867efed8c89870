"""The bare publisher: `python -m wattfleet_bench.publisher SETTINGS` (JSON), told what to do on its standard input.

It sends what many homes would, over a few connections, and keeps a bounded number of messages unanswered. What it
sends is made before the clock starts, and answers are counted in bulk, so that it costs little beside what is measured.
A message that is answered "busy" or "full" is sent again, and only that one.

    > {"do": "prepare", "first_minute": 0, "minutes": 10}      < {"event": "prepared", "messages": 20000}
    > {"do": "send", "per_s": null}                            < {"event": "sending", …} every 0.2 s
                                                               < {"event": "sent", "began_s": …, "ended_s": …, …}
"""

import json
import select
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

from wattfleet_bench.answers import Answers
from wattfleet_bench.blobs import REPLY_TOKEN, Blobs
from wattfleet_bench.homes import Homes
from wattfleet_bench.nats_line import connect_with_file

_SEND_BYTES = 256 * 1024
_READ_BYTES = 1 << 20
_REPORT_EVERY_S = 0.2
_AGAIN_AFTER_S = 0.1
_SILENCE_S = 20.0
_PACE_S = 0.02
"""A paced publisher sends what is due this often. Far more connections would carry as much; with pieces of a few
messages each, over these few, broker and ingest would mostly be woken up."""
_MOST_IN_A_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Who sends and how. window: messages unanswered at most, over all connections."""

    url: str
    credentials: str
    shard: str
    homes: int
    day_ms: int
    seed: int = 1
    connections: int = 4
    window: int = 20_000


class Connection:
    """One connection with its share of the homes, and what it still has to send."""

    def __init__(self, settings: Settings, number: int) -> None:
        homes = Homes(settings.homes, settings.day_ms, settings.seed)
        span = tuple(settings.homes * part // settings.connections for part in (number, number + 1))
        self.line = connect_with_file(settings.url, Path(settings.credentials))
        self.line.sendall(f"SUB _INBOX.*.{REPLY_TOKEN}.{number}.* 1\r\n".encode())
        self.line.setblocking(False)
        self.refused: Counter[str] = Counter()
        self.acknowledged = 0
        self.to_send = 0
        self._blobs = Blobs(homes, ShardId(settings.shard), (span[0], span[1]), number)
        self._place = {one: place for place, one in enumerate(homes.households()[span[0] : span[1]])}
        self._window = settings.window // settings.connections
        self._first_minute = 0
        self._plan = memoryview(b"")
        self._width = 1
        self._sent_bytes = 0
        self._answers = 0
        self._sent_again = 0
        self._again: deque[tuple[float, memoryview]] = deque()
        self._partial = memoryview(b"")
        self._hearing = Answers(number)
        self._control = bytearray()

    def prepare(self, first_minute: int, minutes: int) -> int:
        """Makes the messages of these minutes; returns how many they are."""
        chunks = [
            self._blobs.of_minute(minute, first, min(first + _MOST_IN_A_CHUNK, len(self._blobs)))
            for minute in range(first_minute, first_minute + minutes)
            for first in range(0, len(self._blobs), _MOST_IN_A_CHUNK)
        ]
        self.to_send = len(self._blobs) * minutes
        self._plan = memoryview(b"".join(chunks))
        self._width = len(self._plan) // self.to_send
        self._first_minute = first_minute
        self.acknowledged = self._answers = self._sent_again = self._sent_bytes = 0
        self.refused.clear()
        return self.to_send

    def fileno(self) -> int:
        """For `select`."""
        return self.line.fileno()

    @property
    def done(self) -> bool:
        """Whether everything is acknowledged."""
        return self.acknowledged >= self.to_send

    def wants_to_send(self, due: int) -> bool:
        """Whether something may go out now. due: how many messages may have been sent by now."""
        return bool(self._partial or self._control or self._next_limit(due) > self._sent_bytes or self._ripe())

    def send(self, due: int) -> None:
        """Sends as much as the socket takes, whole messages in their order."""
        if not self._partial:
            self._partial = self._next_piece(due)
        try:
            while self._partial:
                self._partial = self._partial[self.line.send(self._partial) :]
        except BlockingIOError:
            return

    def receive(self) -> None:
        """Counts the answers that have arrived; raises ConnectionError for whatever is none."""
        try:
            arrived = self.line.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not arrived:
            raise ConnectionError("the server closed the connection")
        heard = self._hearing.take(arrived)
        self.acknowledged += heard.acknowledged
        self._answers += heard.acknowledged + len(heard.refused)
        self._control += b"PONG\r\n" * heard.pings
        for subject, reason in heard.refused:
            self.refused[reason] += 1
            self._again.append((time.monotonic() + _AGAIN_AFTER_S, self._message(subject)))

    def _next_limit(self, due: int) -> int:
        """Up to which byte of the plan may be sent by now."""
        unanswered = self._sent_bytes // self._width + self._sent_again - self._answers
        room = self._sent_bytes // self._width + max(0, self._window - unanswered)
        return min(self.to_send, room, due) * self._width

    def _ripe(self) -> bool:
        return bool(self._again) and self._again[0][0] <= time.monotonic()

    def _next_piece(self, due: int) -> memoryview:
        if self._control:
            control, self._control = bytes(self._control), bytearray()
            return memoryview(control)
        if self._ripe():
            self._sent_again += 1
            return self._again.popleft()[1]
        limit = min(self._next_limit(due), self._sent_bytes + _SEND_BYTES // self._width * self._width)
        piece = self._plan[self._sent_bytes : limit]
        self._sent_bytes = max(limit, self._sent_bytes)
        return piece

    def _message(self, reply: str) -> memoryview:
        """The message that was sent with this reply subject."""
        _, household, _, _, minute = reply.split(".")
        number = (int(minute) - self._first_minute) * len(self._blobs) + self._place[HouseholdId(household)]
        return self._plan[number * self._width : (number + 1) * self._width]


class Publisher:
    """All connections, driven by one loop."""

    def __init__(self, settings: Settings) -> None:
        self._connections = [Connection(settings, number) for number in range(settings.connections)]

    def prepare(self, first_minute: int, minutes: int) -> int:
        """Makes what `send` will send; returns the number of messages."""
        return sum(one.prepare(first_minute, minutes) for one in self._connections)

    def send(self, per_s: float | None) -> dict[str, Any]:
        """Sends all that was prepared, at `per_s` messages a second or as fast as it may; returns when all is answered.

        Raises ConnectionError when it cannot be, TimeoutError when no answer comes.
        """
        began_s = reported_s = heard_s = time.monotonic()
        share = None if per_s is None else per_s / len(self._connections)
        acknowledged = 0
        while not all(one.done for one in self._connections):
            now_s = time.monotonic()
            due = sys.maxsize if share is None else int((now_s - began_s) // _PACE_S * _PACE_S * share)
            self._turn(due)
            if (counted := self._acknowledged()) > acknowledged:
                acknowledged, heard_s = counted, now_s
            elif now_s - heard_s > _SILENCE_S:
                raise TimeoutError(f"no answer for {_SILENCE_S:.0f} s; {acknowledged} messages are acknowledged")
            if now_s - reported_s > _REPORT_EVERY_S:
                reported_s = now_s
                _say("sending", at_s=now_s, acknowledged=acknowledged)
        refused = sum((one.refused for one in self._connections), Counter())
        return {"began_s": began_s, "ended_s": time.monotonic(), "messages": acknowledged, "refused": dict(refused)}

    def _acknowledged(self) -> int:
        return sum(one.acknowledged for one in self._connections)

    def _turn(self, due: int) -> None:
        willing = [one for one in self._connections if one.wants_to_send(due)]
        readable, writable, _ = select.select(self._connections, willing, [], _PACE_S)
        for one in readable:
            one.receive()
        for one in writable:
            one.send(due)


def main() -> None:
    """Does what the lines of the standard input say until it ends."""
    publisher = Publisher(Settings(**json.loads(sys.argv[1])))
    _say("connected")
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "prepare":
            _say("prepared", messages=publisher.prepare(order["first_minute"], order["minutes"]))
            continue
        try:
            _say("sent", **publisher.send(order["per_s"]))
        except (OSError, TimeoutError) as error:
            _say("failed", reason=str(error))


def _say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


def settings_text(settings: Settings) -> str:
    """The command's argument."""
    return json.dumps(asdict(settings))


if __name__ == "__main__":
    main()
