"""What the writer does between broker and store, with its own modules, and nothing else around it."""

from collections.abc import Iterator, Sequence

from wattfleet_tenants.ports import Delivery
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire import bundle
from wattfleet_tenants.wire.bundle import Bundle, household_column
from wattfleet_tenants.writer.checks import Limits
from wattfleet_tenants.writer.render import Renderer
from wattfleet_tenants.writer.roster import Roster
from wattfleet_tenants.writer.triage import Arrivals, sort

from wattfleet_bench.blobs import Blobs
from wattfleet_bench.homes import Homes

MESSAGES_PER_BUNDLE = 500
BUNDLES_PER_BATCH = 12
"""6,000 messages: what a busy writer fetches at a time."""

_RUN = "b" * 12


class Transcoder:
    """From bundles, as they come from the broker, to what goes to the store."""

    def __init__(self, now_ms: int) -> None:
        self._limits = Limits()
        self._renderer = Renderer(self._limits.max_power_w)
        self._now_ms = now_ms
        self._roster = Roster()

    def body(self, bundles: Sequence[bytes]) -> list[memoryview]:
        """All their samples, in the pieces of one request; raises ValueError when one of their messages is refused."""
        arrivals = Arrivals(Lane.LIVE, [Delivery(bundle.decode(one), "", len(one)) for one in bundles], self._roster)
        outcome = sort(arrivals.messages, arrivals.senders, (), {}, self._limits, self._now_ms)
        if outcome.objections:
            raise ValueError(f"a message is refused: {outcome.objections[0].reason}")
        return [self._renderer.render(batch) for batch in outcome.good]


def batches(homes: Homes, first_minute: int, minutes: int) -> Iterator[list[bytes]]:
    """The messages of these minutes, packed as an ingest does, in the pieces that a writer fetches."""
    blobs, columns = Blobs(homes, ShardId("s1"), (0, homes.count)), list(map(household_column, homes.ids().tolist()))
    batch: list[bytes] = []
    number = 0
    for minute in range(first_minute, first_minute + minutes):
        payloads = blobs.payloads(minute)
        for first in range(0, homes.count, MESSAGES_PER_BUNDLE):
            number += 1
            part = slice(first, first + MESSAGES_PER_BUNDLE)
            packed = Bundle.of(_RUN, number, (number - 1) * MESSAGES_PER_BUNDLE, columns[part], payloads[part])
            batch.append(bundle.encode(packed))
            if len(batch) == BUNDLES_PER_BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
