"""Whether the store holds exactly what was sent: every sample counted, and those of some homes compared one by one.

What was sent is reckoned anew (see `homes`), so nothing has to be believed that the pipeline itself says.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from wattfleet_tenants import series

from wattfleet_bench.homes import SOCKETS, Homes, power_dw

COMPARED_HOMES = 50
_FIRST_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIMEOUT_S = 120.0
_TOLD = 5
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """All sockets of `homes` in the minutes first_minute..first_minute + minutes - 1."""

    homes: Homes
    first_minute: int
    minutes: int

    @property
    def messages(self) -> int:
        """One per home and minute."""
        return self.homes.count * self.minutes

    @property
    def samples(self) -> int:
        """One per socket."""
        return self.messages * SOCKETS


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what is not as it was sent; `differences` is empty when all is well."""

    samples: int
    compared_samples: int
    differences: tuple[str, ...]


class NotAsSent(Exception):
    """The store does not hold exactly what was sent; the text says what differs."""


def verify(
    store_url: str, sent: Sent, compared_homes: int = COMPARED_HOMES, seed: int = 0, visible_within_s: float = 20.0
) -> Verified:
    """Counts all samples of those minutes and compares the ones of `compared_homes` homes drawn by `seed`.

    visible_within_s: what the store has answered for becomes visible some seconds later; so long a difference may last.
    """
    with httpx.Client(base_url=store_url, timeout=_TIMEOUT_S, trust_env=False) as http:
        samples, found_series = _counts_once_visible(http, sent, visible_within_s)
        differences = []
        if samples != sent.samples:
            differences.append(f"{samples} samples instead of {sent.samples}")
        if found_series != sent.homes.count * SOCKETS:
            differences.append(f"{found_series} series instead of {sent.homes.count * SOCKETS}")
        chosen = random.Random(seed).sample(range(sent.homes.count), min(compared_homes, sent.homes.count))  # noqa: S311
        differences += _compare(http, sent, chosen)
    return Verified(samples, len(chosen) * SOCKETS * sent.minutes, tuple(differences))


def require(verified: Verified) -> None:
    """Raises NotAsSent with the first differences when there are any."""
    if verified.differences:
        more = len(verified.differences) - _TOLD
        told = "; ".join(verified.differences[:_TOLD])
        raise NotAsSent(told + (f"; and {more} more" if more > 0 else ""))


def _counts_once_visible(http: httpx.Client, sent: Sent, within_s: float) -> tuple[int, int]:
    """The counts when they are as they should be, or as they are in a look that began after `within_s`.

    A look at 12 million samples takes about as long itself, and may begin before all of them are visible.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        began_s = time.monotonic()
        http.get("/internal/force_flush").raise_for_status()
        counts = _counts(http, sent)
        if counts == (sent.samples, sent.homes.count * SOCKETS) or began_s > deadline_s:
            return counts
        time.sleep(_LOOK_EVERY_S)


def _counts(http: httpx.Client, sent: Sent) -> tuple[int, int]:
    """How many samples and series there are, asked in 36 parts: one part of 600,000 series fits the store's limits."""
    at_s = sent.homes.interval_start_ms(sent.first_minute + sent.minutes - 1) // 1000
    samples = found_series = 0
    for letter in _FIRST_LETTERS:
        counts = f'count_over_time({series.POWER}{{household=~"h{letter}.*"}}[{sent.minutes}m])'
        samples += _number(http, f"sum({counts})", at_s)
        found_series += _number(http, f"count({counts})", at_s)
    return samples, found_series


def _number(http: httpx.Client, query: str, at_s: int) -> int:
    answer = http.post("/api/v1/query", data={"query": query, "time": str(at_s), "nocache": "1"})
    answer.raise_for_status()
    found = answer.json()["data"]["result"]
    return int(float(found[0]["value"][1])) if found else 0


def _compare(http: httpx.Client, sent: Sent, chosen: Sequence[int]) -> list[str]:
    households = sent.homes.households()
    names = "|".join(households[number] for number in chosen)
    first_ms, last_ms = (
        sent.homes.interval_start_ms(minute) for minute in (sent.first_minute, sent.first_minute + sent.minutes - 1)
    )
    selector = f'{series.POWER}{{household=~"{names}"}}'
    question = {"match[]": selector, "start": str(first_ms / 1000), "end": str(last_ms / 1000)}
    answer = http.get("/api/v1/export", params=question)
    answer.raise_for_status()
    stored = {}
    for line in answer.text.splitlines():
        one = json.loads(line)
        stored[one["metric"]["household"], int(one["metric"]["socket"])] = (one["timestamps"], one["values"])
    times_ms = [sent.homes.interval_start_ms(sent.first_minute + minute) for minute in range(sent.minutes)]
    numbers = np.array(chosen, np.uint32)
    values = np.stack([power_dw(numbers, sent.first_minute + minute) for minute in range(sent.minutes)], axis=2) / 10
    differences = []
    for row, number in enumerate(chosen):
        for socket in range(1, SOCKETS + 1):
            expected = (times_ms, values[row, socket - 1].tolist())
            if difference := _difference(expected, stored.pop((households[number], socket), ([], []))):
                differences.append(f"home {households[number]} socket {socket}: {difference}")
    return differences + [f"nobody sent {household} socket {socket}" for household, socket in stored]


def _difference(expected: tuple[list[int], list[float]], stored: tuple[list[int], list[float]]) -> str:
    """What differs between two series of times and values, "" when nothing does."""
    if stored == expected:
        return ""
    there, due = dict(zip(*stored, strict=True)), dict(zip(*expected, strict=True))
    missing, extra = len(due.keys() - there.keys()), len(there.keys() - due.keys())
    changed = sum(there[at] != due[at] for at in due.keys() & there.keys())
    doubled = len(stored[0]) - len(there)
    return f"{missing} missing, {extra} that were not sent, {changed} changed, {doubled} doubled"
