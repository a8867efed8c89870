"""A house as others have recorded it: a text file with one row a minute, gzipped when its name ends in `.gz`.

Columns, separated by `;`: date (d/m/Y), time, global active power (kW), three of no use here, and three sub-meters in
Wh per minute. Sockets 1 to 3 are the sub-meters (kitchen, laundry, water heater and air conditioning); socket 4 is what
none of them measures. `?` or nothing is a missing value.

Rows are in local time and in order. Where the clock goes back, an hour's rows come twice: the first that would not
follow its predecessor is the second of the two. A local time that does not exist is an error, not a guess.
"""

import gzip
import hashlib
import math
import re
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from wattfleet_tenants.reading import INTERVAL_MS

from wattfleet_agent.sensors import Minute

SOCKETS = ("Kitchen", "Laundry", "Water heater and A/C", "Everything else")
_COLUMNS = 9
_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})")
_LONGEST_LINE = 1000
_MOST_WH_PER_MINUTE = 100_000.0


class MalformedRecording(ValueError):
    """The file is not a recorded house; says in which line, and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


class RecordedHouse:
    """The file at `path`, with local times of `zone`."""

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        self._path = path
        self._zone = zone
        self._now_ms = time.time() * 1000

    def fingerprint(self) -> str:
        """Tells this recording in this time zone from any other."""
        with self._path.open("rb") as file:
            return f"{hashlib.file_digest(file, 'sha256').hexdigest()[:16]} {self._zone.key}"

    def minutes(self) -> Iterator[Minute]:
        """All minutes with at least one value, in order.

        Raises OSError when the file cannot be read, MalformedRecording at the first row that is not as it should be.
        """
        previous_ms = -1
        for number, line in self._lines():
            if number == 1 and line.startswith("Date;"):
                continue
            try:
                minute = self._minute(line, previous_ms)
            except ValueError as error:
                raise MalformedRecording(number, str(error)) from error
            previous_ms = minute.interval_start_ms
            if not minute.empty:
                yield minute

    def _minute(self, line: str, previous_ms: int) -> Minute:
        fields = line.split(";")
        if len(fields) != _COLUMNS:
            raise ValueError(f"{len(fields)} columns instead of {_COLUMNS}")
        return Minute(self._start_ms(fields[0], fields[1], previous_ms), _powers_w(fields))

    def _lines(self) -> Iterator[tuple[int, str]]:
        number = 0
        try:
            with self._open() as file:
                while line := file.readline(_LONGEST_LINE):
                    number += 1
                    text = line.decode("ascii").strip()
                    if text:
                        yield number, text
        except UnicodeDecodeError as error:
            raise MalformedRecording(number, "not a text of plain characters") from error
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise MalformedRecording(number + 1, f"damaged gzip file ({error})") from error

    def _open(self) -> BinaryIO | gzip.GzipFile:
        return gzip.open(self._path, "rb") if self._path.suffix == ".gz" else self._path.open("rb")

    def _start_ms(self, date: str, clock: str, previous_ms: int) -> int:
        day, month, year = _integers(_DATE, date, "date")
        hour, minute, second = _integers(_TIME, clock, "time")
        if second:
            raise ValueError(f"time {clock} is not a whole minute")
        local = datetime(year, month, day, hour, minute, tzinfo=self._zone)
        start_ms = round(local.timestamp() * 1000)
        if start_ms <= previous_ms:
            start_ms = round(local.replace(fold=1).timestamp() * 1000)
        if start_ms <= previous_ms:
            raise ValueError(f"{date} {clock} does not come after the row before it")
        if start_ms + INTERVAL_MS > self._now_ms:
            raise ValueError(f"{date} {clock} is in the future")
        if start_ms % INTERVAL_MS:
            raise ValueError(f"{date} {clock} in {self._zone.key} is not a whole minute of UTC")
        there = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(self._zone)
        if (there.hour, there.minute) != (hour, minute):
            raise ValueError(
                f"{date} {clock} does not exist in {self._zone.key}: the clock went forward. "
                "A recorder that keeps winter time has a fixed zone, such as Etc/GMT-1"
            )
        return start_ms


def _integers(form: re.Pattern[str], text: str, what: str) -> tuple[int, int, int]:
    match = form.fullmatch(text)
    if not match:
        raise ValueError(f"{text[:20]!r} is not a {what}")
    return int(match[1]), int(match[2]), int(match[3])


def _powers_w(fields: list[str]) -> tuple[float | None, ...]:
    total_kw = _number(fields[2])
    sub_meters_w = [None if (wh := _number(field)) is None else wh * 60 for field in fields[6:]]
    measured = [power for power in sub_meters_w if power is not None]
    rest_w = None if total_kw is None or len(measured) < len(sub_meters_w) else total_kw * 1000 - sum(measured)
    return (*sub_meters_w, rest_w)


def _number(field: str) -> float | None:
    text = field.strip()
    if text in ("", "?"):
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{text[:20]!r} is not a number") from error
    if not math.isfinite(value) or abs(value) > _MOST_WH_PER_MINUTE:
        raise ValueError(f"{text[:20]!r} is not a plausible measurement")
    return value
