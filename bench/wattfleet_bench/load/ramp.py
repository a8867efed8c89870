"""The ramp-up: after which delay each agent starts, so that the fewest start first.

The range of delays is cut into sub-ranges of `step`, the last one perhaps shorter. Sub-range k of K (from 1) gets a
share of the agents in proportion to k, so their numbers never fall from one sub-range to the next; what rounding leaves
over goes to the last ones. Within a sub-range each delay is random. A service meets its first agents one by one, and
the crowd only when it has shown that it stands.
"""

from dataclasses import dataclass
from random import Random

_MOST_SUB_RANGES = 100_000


@dataclass(frozen=True, slots=True)
class Ramp:
    """Delays from `min_delay_ms` to `max_delay_ms`, both included, cut every `step_ms`; whole ms.

    Raises ValueError, naming the option, when the numbers make no range.
    """

    min_delay_ms: int
    max_delay_ms: int
    step_ms: int

    def __post_init__(self) -> None:
        if self.min_delay_ms < 0:
            raise ValueError(f"--min-delay must be 0 or more, not {self.min_delay_ms}")
        if self.max_delay_ms < self.min_delay_ms:
            raise ValueError(f"--max-delay {self.max_delay_ms} must not be less than --min-delay {self.min_delay_ms}")
        if self.step_ms < 1:
            raise ValueError(f"--step must be 1 or more, not {self.step_ms}")
        if self.sub_ranges > _MOST_SUB_RANGES:
            raise ValueError(f"--step {self.step_ms} cuts the delays into more than {_MOST_SUB_RANGES:,} sub-ranges")

    @property
    def sub_ranges(self) -> int:
        """How many sub-ranges there are: 1 when the step is as long as the range, or longer."""
        return max(1, -(-(self.max_delay_ms - self.min_delay_ms) // self.step_ms))

    def bounds_ms(self, sub_range: int) -> tuple[int, int]:
        """The first and the last delay of sub-range `sub_range` (from 0); only the last one has `max_delay_ms`."""
        first = self.min_delay_ms + sub_range * self.step_ms
        last = self.max_delay_ms if sub_range == self.sub_ranges - 1 else first + self.step_ms - 1
        return first, last

    def sub_range_of(self, delay_ms: int) -> int:
        """The sub-range (from 0) of a delay within the range."""
        return min((delay_ms - self.min_delay_ms) // self.step_ms, self.sub_ranges - 1)

    def counts(self, agents: int) -> list[int]:
        """How many of `agents` start in each sub-range: never fewer than in the one before."""
        count = self.sub_ranges
        shares = count * (count + 1) // 2
        counts = [agents * rank // shares for rank in range(1, count + 1)]
        for last in range(1, agents - sum(counts) + 1):
            counts[-last] += 1
        return counts

    def delays_ms(self, agents: int, seed: int) -> list[int]:
        """One delay for each of `agents`, sub-range after sub-range; the same for the same seed."""
        random = Random(seed)  # noqa: S311 (a load, not a secret)
        return [
            random.randint(*self.bounds_ms(sub_range))
            for sub_range, count in enumerate(self.counts(agents))
            for _ in range(count)
        ]
