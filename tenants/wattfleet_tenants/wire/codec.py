"""One message at a time: what an agent encodes, and what the gateway decodes of a live reading.

The writer never comes here for messages of the usual layout; it decodes thousands at once in `batch`.
"""

from google.protobuf.message import DecodeError

from wattfleet_tenants.reading import MISSING, HomeReadings
from wattfleet_tenants.socket import MAX_SOCKETS
from wattfleet_tenants.wire.readings_pb2 import Readings

VERSION = 1
MAX_MESSAGE_BYTES = 1024
"""More than 64 sockets and 64 thermometers need (534 bytes)."""

_INT32_MAX = 2**31 - 1


def encode(readings: HomeReadings) -> bytes:
    """The message for `readings`; raises ValueError when a value does not fit the wire."""
    if max(len(readings.power_w), len(readings.temperature_c)) > MAX_SOCKETS:
        raise ValueError(f"a home has at most {MAX_SOCKETS} sockets and {MAX_SOCKETS} thermometers")
    return Readings(
        version=VERSION,
        sequence=readings.sequence,
        interval_start_ms=readings.interval_start_ms,
        power_dw=[_scaled(value, 10) for value in readings.power_w],
        temperature_cc=[_scaled(value, 100) for value in readings.temperature_c],
    ).SerializeToString(deterministic=True)


def decode(message: bytes) -> HomeReadings:
    """The readings in `message`; raises ValueError with the reason when it is not one of ours."""
    readings = parse(message)
    return HomeReadings(
        readings.sequence,
        readings.interval_start_ms,
        tuple(_unscaled(value, 10) for value in readings.power_dw),
        tuple(_unscaled(value, 100) for value in readings.temperature_cc),
    )


def parse(message: bytes) -> Readings:
    """The same, still in scaled integers; raises ValueError with the reason when it is not one of ours."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise ValueError("oversized")
    try:
        readings = Readings.FromString(message)
    except DecodeError as error:
        raise ValueError("malformed") from error
    if readings.version != VERSION:
        raise ValueError("unknown-version")
    if max(len(readings.power_dw), len(readings.temperature_cc)) > MAX_SOCKETS:
        raise ValueError("too-many-sockets")
    return readings


def _scaled(value: float | None, per_unit: int) -> int:
    if value is None:
        return MISSING
    scaled = round(value * per_unit)
    if not MISSING < scaled <= _INT32_MAX:
        raise ValueError(f"{value} does not fit the wire")
    return scaled


def _unscaled(value: int, per_unit: int) -> float | None:
    return None if value == MISSING else value / per_unit
