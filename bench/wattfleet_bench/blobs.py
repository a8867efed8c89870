"""Messages of many homes as one piece of NATS protocol, written by numpy.

A message looks like an agent's in every byte, but for the connection it comes over. All messages of a home are equally
long, so a matrix holds one of each home, and for the next minute only sequence, time, values and the reply's number
are written anew: 0.35 us a message, where a formatted one takes 15.
"""

from dataclasses import dataclass

import numpy as np
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.wire import codec

from wattfleet_bench.homes import SOCKETS, Homes, power_dw

REPLY_TOKEN = "bench"  # noqa: S105 (of a subject)
"""Between household and number in a reply subject: `_INBOX.<household>.bench.<connection>.<minute>`."""

_REPLY_DIGITS = 8
_SEQUENCE_AT, _START_AT, _POWER_AT = 3, 8, 18
_POWER_BYTES = 4 * SOCKETS


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the parts that change from minute to minute stand in a row."""

    reply: slice
    sequence: slice
    start: slice
    power: slice


class Blobs:
    """The messages of homes first..last - 1 of `homes`, sent over one connection."""

    def __init__(self, homes: Homes, shard: ShardId, span: tuple[int, int], connection: int = 0) -> None:
        self._homes = homes
        self._numbers = np.arange(*span, dtype=np.uint32)
        ids = homes.ids()[span[0] : span[1]]
        template, self._places = _template(shard, ids[0].decode(), connection)
        self._rows = np.tile(np.frombuffer(template, np.uint8), (len(ids), 1))
        self._message_bytes = self._places.power.stop - self._places.sequence.start + _SEQUENCE_AT
        letters = ids.view(np.uint8).reshape(len(ids), -1)
        at = template.find(ids[0])
        while at >= 0:
            self._rows[:, at : at + letters.shape[1]] = letters
            at = template.find(ids[0], at + 1)

    def __len__(self) -> int:
        return len(self._rows)

    def of_minute(self, minute: int, first: int, last: int) -> bytes:
        """The messages of `minute` of the homes `first`..`last` - 1, counted within the span."""
        rows, at = self._rows[first:last], self._places
        rows[:, at.reply] = np.frombuffer(b"%0*d" % (_REPLY_DIGITS, minute), np.uint8)
        rows[:, at.sequence] = np.frombuffer((minute + 1).to_bytes(4, "little"), np.uint8)
        rows[:, at.start] = np.frombuffer(self._homes.interval_start_ms(minute).to_bytes(8, "little"), np.uint8)
        values = power_dw(self._numbers[first:last], minute)
        rows[:, at.power] = values.view(np.uint8).reshape(len(values), _POWER_BYTES)
        return rows.tobytes()

    def payloads(self, minute: int) -> list[bytes]:
        """The messages of `minute` alone, of all homes of the span, without any protocol."""
        blob, width = self.of_minute(minute, 0, len(self)), self._rows.shape[1]
        ends = range(width - len(b"\r\n"), len(blob), width)
        return [blob[end - self._message_bytes : end] for end in ends]


def _template(shard: ShardId, household: str, connection: int) -> tuple[bytes, _Places]:
    message = codec.encode(HomeReadings(1, INTERVAL_MS, (0.0,) * SOCKETS))
    reply = f"_INBOX.{household}.{REPLY_TOKEN}.{connection}."
    head = f"PUB m.{shard}.{household} {reply}".encode()
    body_at = len(head) + _REPLY_DIGITS + len(f" {len(message)}\r\n")
    template = head + b"0" * _REPLY_DIGITS + b" %d\r\n" % len(message) + message + b"\r\n"
    places = _Places(
        slice(len(head), len(head) + _REPLY_DIGITS),
        slice(body_at + _SEQUENCE_AT, body_at + _SEQUENCE_AT + 4),
        slice(body_at + _START_AT, body_at + _START_AT + 8),
        slice(body_at + _POWER_AT, body_at + _POWER_AT + _POWER_BYTES),
    )
    return template, places


def answer_bytes(connection: int, household_length: int = 21) -> int:
    """How long the answer `ok` to any message is, as the server sends it."""
    reply = len("_INBOX.") + household_length + len(f".{REPLY_TOKEN}.{connection}.") + _REPLY_DIGITS
    return len("MSG ") + reply + len(" 1 2\r\nok\r\n")
