"""Waiting for what a cluster shows."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from wattfleet_tenants.testing.waiting import eventually

Outcome = TypeVar("Outcome")


async def seen(look: Callable[[], Outcome], within_s: float, what: str) -> Outcome:
    """The first true value of `look`, which may block; raises TimeoutError naming `what` after `within_s`.

    It looks in a thread: asked for in the loop of an operator under test, kubectl would keep that from its work.
    """
    return await eventually(lambda: asyncio.to_thread(look), within_s, what)
