"""How long a home's message is: 30 readings as an agent sends them."""

from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.wire import codec

from wattfleet_bench.bench import Bench
from wattfleet_bench.results import Result, at_most

_TARGET_BYTES = 140
_LATE_SEQUENCE = 2**32 - 1


def run(_: Bench) -> list[Result]:
    """The length in bytes; every field has a fixed width, so all such messages are equally long."""
    lengths = {
        sockets: len(codec.encode(HomeReadings(_LATE_SEQUENCE, 30_000_000 * INTERVAL_MS, (2_345.6,) * sockets)))
        for sockets in (11, 30)
    }
    return [
        at_most("message.bytes", lengths[30], "B", _TARGET_BYTES, "30 readings, with sequence number and time"),
        Result("message.11_readings.bytes", lengths[11], "B", conditions="11 readings, as the published project had"),
    ]
