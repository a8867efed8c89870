"""Memory that is written again once nobody refers to it any more.

The pages of fresh memory have to be emptied and mapped, which took more time than writing runs into them: 560 ns a
message with six samples a series, and 240 ns into memory that has been written before.
"""

import weakref

import numpy as np
from numpy.typing import NDArray


class Blocks:
    """Blocks of one size. most_idle: so many of them are kept for later."""

    def __init__(self, block_bytes: int, most_idle: int) -> None:
        self._block_bytes = block_bytes
        self._most_idle = most_idle
        self._idle: list[NDArray[np.uint8]] = []

    def take(self) -> memoryview:
        """A block; whatever was in it is still there. It is taken again only when neither this nor a slice of it is
        left, wherever that is: a thread that sends it may outlive whoever asked for that."""
        memory = self._idle.pop() if self._idle else np.empty(self._block_bytes, np.uint8)
        lent = memory.view()
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return lent.data

    def _give_back(self, memory: NDArray[np.uint8]) -> None:
        if len(self._idle) < self._most_idle:
            self._idle.append(memory)
