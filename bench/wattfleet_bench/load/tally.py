"""What a load counts: how long acknowledgements take, and how many messages leave in each second.

Latencies are counted in buckets that grow by 2 %, so that those of several processes add up and a percentile is at most
2 % off. Sends are counted by the second in which they happened, which is all that peak and mean need.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import ceil, log

_GROWTH = 1.02
_SHORTEST_S = 1e-5


class Latencies:
    """Durations in s, counted; `buckets` are what another one had counted."""

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self.buckets = Counter(buckets or {})

    def add(self, latency_s: float) -> None:
        """One more."""
        self.buckets[ceil(log(max(latency_s, _SHORTEST_S) / _SHORTEST_S, _GROWTH))] += 1

    def merge(self, other: "Latencies") -> None:
        """All of another's too."""
        self.buckets.update(other.buckets)

    @property
    def count(self) -> int:
        """How many."""
        return self.buckets.total()

    def percentile_s(self, percent: float) -> float | None:
        """What `percent` percent (0 to 100) did not exceed, in s; None when nothing was counted."""
        places = sorted(self.buckets)
        wanted = max(1, ceil(self.count * percent / 100))
        for place, reached in zip(places, accumulate(self.buckets[each] for each in places), strict=True):
            if reached >= wanted:
                return float(_SHORTEST_S * _GROWTH**place)
        return None


def peak_to_mean(by_second: Mapping[int, int], begin_s: int, end_s: int) -> float | None:
    """The most in one of the seconds [begin_s, end_s) over the mean of all of them; None when there were none."""
    counts = [by_second.get(second, 0) for second in range(begin_s, end_s)]
    return max(counts) * len(counts) / total if (total := sum(counts)) else None


def phases_peak_to_mean(phases_ms: Iterable[int], minute_ms: int = 60_000) -> float | None:
    """The same for homes that send once a minute, each at its phase (ms into the minute); None without homes."""
    by_second = Counter(phase_ms % minute_ms // 1000 for phase_ms in phases_ms)
    return peak_to_mean(by_second, 0, minute_ms // 1000)
