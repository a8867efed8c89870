"""What a gateway does beside answering people goes on."""

import asyncio

from sqlalchemy.exc import TimeoutError as NoConnection
from wattfleet_gateway.chores import keep_doing
from wattfleet_tenants.testing.waiting import eventually


async def test_a_chore_that_failed_is_done_again_whatever_the_reason() -> None:
    troubles, done = [KeyError("content-type"), NoConnection("no connection")], asyncio.Event()

    async def chore() -> None:
        if troubles:
            raise troubles.pop()
        done.set()

    doing = asyncio.create_task(keep_doing(chore, 0))
    await eventually(done.is_set, 5, "it was done at last")
    doing.cancel()
    await asyncio.wait([doing])
