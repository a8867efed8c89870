"""What a gateway does beside answering people: a chore, done again and again, whatever came of it the last time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from wattfleet_gateway.database import words

logger = logging.getLogger(__name__)


async def keep_doing(chore: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Does it now and `every_s` seconds after it was done, until it is cancelled."""
    name = chore.__qualname__
    while True:
        try:
            await chore()
        except SQLAlchemyError as error:
            logger.warning("not done", extra={"chore": name, "error": words(error)})
        except Exception:
            logger.exception("not done", extra={"chore": name})
        await asyncio.sleep(every_s)
