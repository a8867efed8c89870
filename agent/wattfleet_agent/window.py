"""How many messages may be on their way at once: one at first, one more with each acknowledgement, 256 at most.

After a failure it is one again. So a platform that refuses (a full stream, a store that catches up) is asked with a
single message at a time, and one that takes everything gets it as fast as it acknowledges.
"""

import time
from collections.abc import Callable

MOST_IN_FLIGHT = 256
"""256 on the way at a round trip of 20 ms are 12,800 a second: more than a Python client can send."""
ANSWER_WITHIN_S = 10.0
"""A cluster that lost its leader acknowledges nothing for 6 s."""


class Window:
    """The messages of one connection that are on their way, by sequence number."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, most: int = MOST_IN_FLIGHT, answer_s: float = ANSWER_WITHIN_S
    ) -> None:
        self._clock = clock
        self._most = most
        self._answer_s = answer_s
        self._size = 1
        self._sent_at_s: dict[int, float] = {}

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._sent_at_s

    def __len__(self) -> int:
        return len(self._sent_at_s)

    @property
    def room(self) -> int:
        """How many more may be sent now; 0 until half of the window is free, so that messages are fetched in groups."""
        room = self._size - len(self._sent_at_s)
        return room if 2 * room >= self._size else 0

    def sent(self, sequence: int) -> None:
        """It is on its way."""
        self._sent_at_s[sequence] = self._clock()

    def acknowledged(self, sequence: int) -> None:
        """The platform holds it."""
        self._sent_at_s.pop(sequence, None)
        self._size = min(self._size + 1, self._most)

    def failed(self, sequence: int) -> None:
        """It was refused."""
        self._sent_at_s.pop(sequence, None)
        self._size = 1

    def give_up_late(self) -> int:
        """Forgets those that should have been answered by now, and returns how many; the others stay on their way."""
        too_old_s = self._clock() - self._answer_s
        late = [sequence for sequence, sent_at_s in self._sent_at_s.items() if sent_at_s < too_old_s]
        for sequence in late:
            self.failed(sequence)
        return len(late)

    def give_up_all(self) -> int:
        """Forgets all that are on their way, and returns how many."""
        given_up = len(self._sent_at_s)
        self._sent_at_s.clear()
        self._size = 1
        return given_up
