"""A backlog's readings as Prometheus remote write: every series once, with all of its samples in the batch behind it.

When homes catch up, a batch holds many minutes of each. Written as CSV, the store would parse household and socket and
look the series up for every sample. Written as runs it does so once, and gets numbers instead of their texts. The body
is protobuf, which machine code writes (`wattfleet_native`), in a snappy container that says "all of it literally".

Measured with 12 samples a series, one machine, alternating: VictoriaMetrics 0.53-0.67 CPU-s per million samples, with
CSV 0.85-0.98; 25 bytes a sample instead of 48. With one sample a series it is the other way round; hence the threshold.
Bodies of 12,000 series instead of 6,000 cost the store no more and the writer a fifth less (0.107 -> 0.088 with six
samples a series, median of three); 30,000 save nothing more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from wattfleet_native.runs import MOST_BYTES_BEFORE_SAMPLES, SAMPLE_BYTES, Readings, write_runs

from wattfleet_tenants import series
from wattfleet_tenants.reading import MISSING
from wattfleet_tenants.wire.batch import PowerBatch
from wattfleet_tenants.writer import order
from wattfleet_tenants.writer.grouping import Neighbours, neighbours

WORTH_SAMPLES_PER_SERIES = 2
WORTH_MESSAGES = 100
MOST_SERIES_PER_BODY = 12_000
MOST_BYTES_PER_BODY = 8_000_000
"""The store takes 32 MiB."""


@dataclass(frozen=True, slots=True)
class Body:
    """pieces: sent one behind the other. samples: how many are in it."""

    pieces: Sequence[memoryview]
    samples: int


def worth_runs(batch: PowerBatch, messages: int) -> bool:
    """Whether the store takes `batch` cheaper as runs, when there are so many messages in all to be stored."""
    if messages < WORTH_MESSAGES or not batch.power_dw.size:
        return False
    return len(neighbours(batch.households)) * WORTH_SAMPLES_PER_SERIES <= len(batch)


def apart(batch: PowerBatch) -> tuple[PowerBatch, list[PowerBatch]]:
    """What of `batch` runs can hold, the powers of messages with readings of all sockets, and the rest."""
    if not batch.temperature_cc.size and batch.power_dw.min() > MISSING:
        return batch, []
    complete = (batch.power_dw != MISSING).all(axis=1)
    runs = batch.only(complete)
    temperatures = replace(runs, power_dw=np.empty((len(runs), 0), np.int32))
    return runs, [part for part in (temperatures, batch.only(~complete)) if part.samples]


def bodies(batches: Sequence[PowerBatch]) -> Iterator[Body]:
    """All powers of `batches`, none of which is missing, as bodies of remote write, in the order of their rows."""
    rows: list[memoryview] = []
    series = samples = size_bytes = 0
    for written in _all_written(batches):
        if rows and (
            series + written.series > MOST_SERIES_PER_BODY or size_bytes + written.rows.nbytes > MOST_BYTES_PER_BODY
        ):
            yield Body(_contained(rows), samples)
            rows = []
            series = samples = size_bytes = 0
        rows.append(written.rows)
        series += written.series
        samples += written.samples
        size_bytes += written.rows.nbytes
    if rows:
        yield Body(_contained(rows), samples)


@dataclass(frozen=True, slots=True)
class _Written:
    """At most as much as fits into one body."""

    rows: memoryview
    series: int
    samples: int


def _all_written(batches: Sequence[PowerBatch]) -> Iterator[_Written]:
    for batch in batches:
        if not len(batch):
            continue
        sockets = batch.power_dw.shape[1]
        most_repeats = max(1, MOST_BYTES_PER_BODY // (SAMPLE_BYTES * sockets))
        for some in _portions(neighbours(batch.households).cut(most_repeats), sockets):
            yield _Written(_written(batch, some), len(some) * sockets, int(some.counts.sum()) * sockets)


def _portions(homes: Neighbours, sockets: int) -> Iterator[Neighbours]:
    """As much of `homes` at a time as fits into one body."""
    ends = np.cumsum((MOST_BYTES_BEFORE_SAMPLES + homes.counts * SAMPLE_BYTES) * sockets)
    first = before = 0
    while first < len(homes):
        last = int(np.searchsorted(ends, before + MOST_BYTES_PER_BODY, side="right"))
        last = min(max(last, first + 1), first + max(1, MOST_SERIES_PER_BODY // sockets))
        yield homes.only(slice(first, last))
        first, before = last, int(ends[last - 1])


def _written(batch: PowerBatch, homes: Neighbours) -> memoryview:
    """The runs of some households, one household behind the other however many messages each has."""
    columns = order.columns(batch.power_dw.shape[1])
    readings = Readings(batch.households, batch.interval_start_ms, batch.power_dw)
    return write_runs(series.POWER, readings, columns, homes.firsts, homes.counts)


def _contained(rows: Sequence[memoryview]) -> Sequence[memoryview]:
    """A snappy block of one literal."""
    length = sum(one.nbytes for one in rows)
    return [memoryview(_varint(length, 5) + b"\xfc" + (length - 1).to_bytes(4, "little")), *rows]


def _varint(number: int, width: int) -> bytes:
    """A varint of so many bytes, however small the number is; raises OverflowError when it needs more."""
    if number >> 7 * width:
        raise OverflowError(f"{number} needs more than {width} bytes")
    low = [number >> 7 * place & 0x7F | 0x80 for place in range(width - 1)]
    return bytes([*low, number >> 7 * (width - 1)])
