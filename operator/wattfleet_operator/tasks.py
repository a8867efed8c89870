"""Tasks that belong together."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Runs all parts; when one of them ends, or this is cancelled, the others are cancelled and waited for.

    Raises what the one that ended raised.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
