"""How long to wait after a failure: twice as long each time, and a random part of that ("full jitter").

Without the randomness, all homes that lost a server at the same moment would come back at the same moment.
"""

import random
from collections.abc import Callable


class Backoff:
    """base_s: the most that the first wait takes. most_s: the most that any wait takes."""

    def __init__(self, base_s: float, most_s: float, chance: Callable[[], float] = random.random) -> None:
        self._base_s = base_s
        self._most_s = most_s
        self._chance = chance
        self._failures = 0

    def next_s(self, most_s: float | None = None) -> float:
        """The next wait, in s; `most_s` caps this one further."""
        most = min(self._most_s, self._base_s * 2.0**self._failures, most_s or self._most_s)
        # 2^30 times any base is above any cap.
        self._failures = min(self._failures + 1, 30)
        return most * self._chance()

    def reset(self) -> None:
        """Something worked: the next failure starts from the beginning."""
        self._failures = 0
