"""What a watch cannot tell: that something went while it was cut for so long that it had to begin anew.

A watch that is cut goes on where it was, deletions included. When the API server no longer knows what happened since
then (410 Gone), kopf lists everything again, and whatever is not in that list is not mentioned. So now and then the
roll is called: what is remembered and does not answer is forgotten, and what belongs to it is looked at. Pods that
lost a Service or a home that lost its Secret wait no longer than that.

The platform's own keys are never forgotten: those that somebody has deleted or changed are put back, since with other
keys no home could send any more. That is urgent, as nobody but this process remembers them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from typing import TypeVar

from wattfleet_operator.adapters.cluster_objects import ClusterObjects
from wattfleet_operator.adapters.cluster_resources import ClusterResources
from wattfleet_operator.adapters.cluster_secrets import ClusterHomes, ClusterVault
from wattfleet_operator.errors import NotYet
from wattfleet_operator.loop import Loop

logger = logging.getLogger(__name__)

ROLL_CALL_EVERY_S = 300.0
"""It is rarely needed, and an API server that lists past its cache pays with 0.6 s of CPU for 1,000 households."""
KEYS_COMPARED_EVERY_S = 10.0
"""One small request for each Secret of the platform and of each shard."""
Answer = TypeVar("Answer", bound=Collection[str])


async def call_roll(
    resources: ClusterResources, homes: ClusterHomes, objects: ClusterObjects, loop: Loop, every_s: float
) -> None:
    """Forgets what is there no more, every `every_s` seconds, until it is cancelled."""
    while True:
        await asyncio.sleep(every_s)
        await _answered(resources.call_roll())
        for household in await _answered(homes.call_roll()) or ():
            loop.touch("Household", household)
        for shard in await _answered(objects.call_roll()) or ():
            loop.touch("Shard", shard)


async def keep_keys(vault: ClusterVault, every_s: float) -> None:
    """Puts keys back that somebody deleted or changed, every `every_s` seconds, until it is cancelled."""
    while True:
        await asyncio.sleep(every_s)
        await vault.put_back()


async def _answered(call: Awaitable[Answer]) -> Answer | None:
    try:
        answer = await call
    except NotYet as error:
        logger.warning("the roll could not be called", extra={"reason": error.reason, "detail": error.message})
        return None
    if answer:
        logger.info("something went unseen", extra={"belonged_to": sorted(map(str, answer))})
    return answer
