"""A backlog's readings as Prometheus remote write: every series once, with all of its samples in the batch behind it.

When homes catch up, a batch holds many minutes of each. Written as CSV, the store would parse household and socket and
look the series up for every sample. Written as runs it does so once, and gets numbers instead of their texts. The body
is protobuf, which machine code writes (`wattfleet_native`), in a snappy container that says "all of it literally".

Measured with 12 samples a series, one machine, alternating: VictoriaMetrics 0.53-0.67 CPU-s per million samples, with
CSV 0.85-0.98; 25 bytes a sample instead of 48. With one sample a series it is the other way round; hence the threshold.
Large bodies cost the store no more and the writer less: now that machine code writes them, their way to the store
counts for more. At 600,000 series, in turn, 24,000 series instead of 12,000 made 0.064, 0.077 and 0.075 to 0.063, 0.070
and 0.069; 40,000 instead of 24,000, measured by what NATS needed meanwhile, saved another 9 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from wattfleet_native.blocks import Blocks
from wattfleet_native.runs import MOST_BYTES_BEFORE_SAMPLES, SAMPLE_BYTES, Readings, Runs, write_runs

from wattfleet_tenants import series
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.socket import MAX_SOCKETS
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import order
from wattfleet_tenants.writer.grouping import Neighbours, neighbours

WORTH_SAMPLES_PER_SERIES = 2
WORTH_MESSAGES = 100
MOST_SERIES_PER_BODY = 40_000
MOST_BYTES_PER_BODY = 16_000_000
"""The store takes 32 MiB."""


@dataclass(frozen=True, slots=True)
class Body:
    """content: what is sent. samples: how many are in it."""

    content: memoryview
    samples: int


def worth_runs(batch: PowerBatch, messages: int) -> bool:
    """Whether the store takes `batch` cheaper as runs, when there are so many messages in all to be stored."""
    if messages < WORTH_MESSAGES or not batch.power_dw.size:
        return False
    return len(neighbours(batch.households)) * WORTH_SAMPLES_PER_SERIES <= len(batch)


def apart(batch: PowerBatch) -> tuple[PowerBatch, list[PowerBatch]]:
    """What of `batch` runs can hold, the powers of messages with readings of all sockets, and the rest."""
    known = batch.powers_within(MISSING + 1, -MISSING - 1)
    if not batch.temperature_cc.size and (known or batch.power_dw.min() > MISSING):
        return batch, []
    complete = (batch.power_dw != MISSING).all(axis=1)
    runs = batch.only(complete)
    temperatures = replace(runs, power_dw=np.empty((len(runs), 0), np.int32))
    return runs, [part for part in (temperatures, batch.only(~complete)) if part.samples]


def bodies(batches: Sequence[PowerBatch]) -> Iterator[Body]:
    """All powers of `batches`, none of which is missing, as bodies of remote write, in the order of their rows."""
    if not batches:
        return
    body = _Unfinished()
    for batch in batches:
        columns = order.columns(batch.power_dw.shape[1])
        readings = Readings(batch.households, batch.interval_start_ms, batch.power_dw)
        for homes in _portions(batch):
            some = Runs(columns, homes.firsts, homes.counts)
            if not body.has_room(some):
                yield body.finished()
                body = _Unfinished()
            body.add(readings, some)
    if body.samples:
        yield body.finished()


class _Unfinished:
    """A body to which runs are added."""

    def __init__(self) -> None:
        self._memory = _MEMORY.take()
        self._end = _HEAD_BYTES
        self._series = 0
        self.samples = 0

    def has_room(self, runs: Runs) -> bool:
        """Whether it takes `runs`, too; an empty one takes whatever is no larger than a portion."""
        if self._series + len(runs.firsts) * len(runs.columns) > MOST_SERIES_PER_BODY:
            return not self._series
        return self._end + runs.most_bytes <= self._memory.nbytes

    def add(self, readings: Readings, runs: Runs) -> None:
        self._end += write_runs(self._memory[self._end :], series.POWER, readings, runs)
        self._series += len(runs.firsts) * len(runs.columns)
        self.samples += int(runs.counts.sum()) * len(runs.columns)

    def finished(self) -> Body:
        """As a snappy block of one literal."""
        length = self._end - _HEAD_BYTES
        varint = bytes([length >> 7 * place & 0x7F | 0x80 for place in range(4)]) + bytes([length >> 28])
        self._memory[:_HEAD_BYTES] = varint + b"\xfc" + (length - 1).to_bytes(4, "little")
        return Body(self._memory[: self._end], self.samples)


def _portions(batch: PowerBatch) -> Iterator[Neighbours]:
    """As many of the batch's households at a time as fit into one body; of one with very much a part."""
    sockets = batch.power_dw.shape[1]
    if not batch.power_dw.size:
        return
    homes = neighbours(batch.households).cut(max(1, MOST_BYTES_PER_BODY // (SAMPLE_BYTES * sockets)))
    ends = np.cumsum((MOST_BYTES_BEFORE_SAMPLES + homes.counts * SAMPLE_BYTES) * sockets)
    first = before = 0
    while first < len(homes):
        last = int(np.searchsorted(ends, before + MOST_BYTES_PER_BODY, side="right"))
        last = min(max(last, first + 1), first + max(1, MOST_SERIES_PER_BODY // sockets))
        yield homes.only(slice(first, last))
        first, before = last, int(ends[last - 1])


_HEAD_BYTES = 10
_ONE_HOME_BYTES = MOST_BYTES_BEFORE_SAMPLES * MAX_SOCKETS
_MEMORY = Blocks(_HEAD_BYTES + MOST_BYTES_PER_BODY + _ONE_HOME_BYTES, most_idle=6)
