"""What a broken or hostile home may send: a corpus of named messages, and a strategy that makes more of them.

Every entry once found, or could have found, a weakness: text that looks like the broker's protocol or the store's
format, numbers at the edges of their types, lengths that are none, layouts that look like another.
"""

import struct
import time

from hypothesis import strategies as st
from wattfleet_tenants.reading import INTERVAL_MS, MISSING
from wattfleet_tenants.testing.builders import A_MINUTE_MS, message
from wattfleet_tenants.wire.readings_pb2 import Readings

LIKE_PROTOCOL = (b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"MSG m.s1.x 1 5\r\nhello\r\n", b"PING\r\n", b"-ERR 'no'\r\n")
"""Payloads that might be taken for what the server says."""

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
NAN_LIKE = struct.unpack("<i", struct.pack("<f", float("nan")))[0]
INFINITY_LIKE = struct.unpack("<i", struct.pack("<f", float("inf")))[0]
STALE_NAN_LIKE = 2  # the low half of Prometheus' staleness marker, 0x7ff0000000000002


def proto(**fields: object) -> bytes:
    """A message of the wire's form with any content."""
    return Readings(**{"version": 1, "sequence": 9, "interval_start_ms": A_MINUTE_MS, **fields}).SerializeToString()  # type: ignore[arg-type]


def next_minute_ms(days_ahead: int) -> int:
    return (int(time.time()) // 60 + days_ahead * 24 * 60) * INTERVAL_MS


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "unknown-version"),
    "truncated after the first byte": (message()[:1], "malformed"),
    "truncated in the powers": (message()[:-3], "malformed"),
    "truncated in the length": (message()[:17], "malformed"),
    "oversized, otherwise right": (proto(power_dw=[1]) + b"\x82\x7f" + b"\x80\x10" + b"x" * 2048, "oversized"),
    "oversized": (b"\x08\x01" + b"x" * 9_000, "oversized"),
    "another version": (proto(version=2, power_dw=[1]), "unknown-version"),
    "the highest version": (proto(version=2**32 - 1, power_dw=[1]), "unknown-version"),
    "no version": (proto(version=0, power_dw=[1]), "unknown-version"),
    "too many sockets": (proto(power_dw=[1] * 65), "too-many-sockets"),
    "far too many sockets": (proto(power_dw=[1] * 200), "too-many-sockets"),
    "too many thermometers": (proto(power_dw=[1], temperature_cc=[1] * 65), "too-many-sockets"),
    "no sequence": (proto(sequence=0, power_dw=[1]), "no-sequence"),
    "no readings": (proto(), "empty"),
    "not aligned": (proto(interval_start_ms=A_MINUTE_MS + 1, power_dw=[1]), "unaligned"),
    "a day ahead": (proto(interval_start_ms=next_minute_ms(1), power_dw=[1]), "future"),
    "years ahead": (proto(interval_start_ms=next_minute_ms(5_000), power_dw=[1]), "future"),
    "the last moment there is": (proto(interval_start_ms=2**64 - 16, power_dw=[1]), "unaligned"),
    "the last aligned moment": (proto(interval_start_ms=2**64 // INTERVAL_MS * INTERVAL_MS, power_dw=[1]), "future"),
    "the year 1970": (proto(interval_start_ms=INTERVAL_MS, power_dw=[1]), "too-old"),
    "the epoch": (proto(interval_start_ms=0, power_dw=[1]), "too-old"),
    "a time that a store takes for seconds": (proto(interval_start_ms=2_147_460_000, power_dw=[1]), "too-old"),
    "the largest integer": (proto(power_dw=[INT32_MAX]), "implausible-power"),
    "the smallest integer but one": (proto(power_dw=[INT32_MIN + 1]), "implausible-power"),
    "not a number": (proto(power_dw=[NAN_LIKE] * 30), "implausible-power"),
    "infinity": (proto(power_dw=[1] * 29 + [INFINITY_LIKE]), "implausible-power"),
    "just above what a socket carries": (proto(power_dw=[1, 250_001]), "implausible-power"),
    "just below what a socket feeds in": (proto(power_dw=[1, -250_001]), "implausible-power"),
    "hotter than a collector": (proto(power_dw=[1], temperature_cc=[25_001]), "implausible-temperature"),
    "colder than the poles": (proto(power_dw=[1], temperature_cc=[-9_001]), "implausible-temperature"),
    "line breaks": (b"\r\n" * 70, "unknown-version"),
    "a message of the broker": (b"MSG m.s1.h0123456789abcdefghij 1 5\r\nhello\r\n", "malformed"),
    "an error of the broker": (b"-ERR 'Authorization Violation'\r\nPING\r\n", "malformed"),
    "a command to the broker": (b"PUB $JS.API.STREAM.PURGE.M-s1-live 0\r\n\r\n", "malformed"),
    "a sample of the store": (
        b'wattfleet_power_watts{household="hxxxxxxxxxxxxxxxxxxxx",socket="1"} 1 1',
        "malformed",
    ),
    "another form of data": (b'{"household":"h0123456789abcdefghij","power_w":[1]}', "malformed"),
    "zeros": (b"\x00" * 138, "malformed"),
    "ones": (b"\xff" * 138, "malformed"),
}
"""By name: a message, and the reason for which it is kept in quarantine."""

ACCEPTED: dict[str, bytes] = {
    "one socket": proto(power_dw=[1]),
    "a thermometer only": proto(temperature_cc=[2_000]),
    "nothing measured at all": proto(power_dw=[MISSING] * 30),
    "all but one missing": proto(power_dw=[MISSING] * 29 + [5]),
    "the most that a socket carries": proto(power_dw=[250_000, -250_000]),
    "a number that means staleness elsewhere": proto(power_dw=[STALE_NAN_LIKE]),
    "the highest sequence": proto(sequence=2**32 - 1, power_dw=[1]),
    "readings that spell a line break": proto(power_dw=list(struct.unpack("<4i", b"\r\n\x00\x00" * 4))),
    "fields in another order": proto(power_dw=[1, 2])[2:] + proto(power_dw=[1, 2])[:2],
    "powers in two parts": proto(power_dw=[1]) + Readings(power_dw=[2]).SerializeToString(),
    "a field that nobody knows": proto(power_dw=[1, 2, 3]) + b"\x32\x04abcd",
    **{f"{sockets} sockets": proto(power_dw=[sockets] * sockets) for sockets in (11, 12, 29, 30, 31, 32, 63, 64)},
}
"""By name: odd messages that are right all the same."""

_edge = st.sampled_from([INT32_MIN, INT32_MIN + 1, -250_001, -250_000, -1, 0, 1, 250_000, 250_001, INT32_MAX, NAN_LIKE])
_moments = st.sampled_from([0, INTERVAL_MS, 2**31 - 8, A_MINUTE_MS, A_MINUTE_MS + 1, 2**63, 2**64 - 1])

_messages = st.builds(
    proto,
    version=st.sampled_from([0, 1, 1, 1, 1, 2, 255]),
    sequence=st.sampled_from([0, 1, 2**32 - 1]),
    interval_start_ms=st.one_of(_moments, st.integers(0, 2**64 - 1)),
    power_dw=st.lists(st.one_of(_edge, st.integers(-10_000, 250_000)), max_size=70),
    temperature_cc=st.lists(_edge, max_size=3),
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A message cut, repeated, or changed in some bytes."""
    whole = bytearray(draw(st.one_of(_messages, st.sampled_from([*ACCEPTED.values(), message()]))))
    for _ in range(draw(st.integers(0, 4))):
        if whole:
            whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(whole[draw(st.integers(0, 8)) :][: draw(st.integers(0, 1200))]) * draw(st.integers(1, 2))


hostile = st.one_of(
    _messages,
    _damaged(),
    st.binary(max_size=200),
    st.sampled_from([payload for payload, _ in REFUSED.values()]),
    st.sampled_from([*ACCEPTED.values()]),
)
"""Anything that a home could send."""
