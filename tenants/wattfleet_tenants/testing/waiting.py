"""Tests never sleep: they wait for a condition, with a limit, and say what they waited for when it does not come."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Outcome = TypeVar("Outcome")

_LOOK_EVERY_S = 0.05


async def eventually(condition: Callable[[], Awaitable[Outcome] | Outcome], within_s: float, what: str) -> Outcome:
    """The first true value of `condition` (plain or async); raises TimeoutError naming `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        outcome = condition()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s} s (last seen: {value!r:.300})")
        await asyncio.sleep(_LOOK_EVERY_S)


def wait_until(condition: Callable[[], Outcome], within_s: float, what: str, every_s: float = _LOOK_EVERY_S) -> Outcome:
    """The same for tests and fixtures that are not async; looks every `every_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s} s (last seen: {value!r:.300})")
        time.sleep(every_s)
