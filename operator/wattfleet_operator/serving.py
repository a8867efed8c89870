"""An operator's process in a cluster: its health, its part in the leadership, and its work while it leads.

Of several only the leader acts; the others stand by, ready to take over. A process ends by itself when it is told to,
when it can no longer be sure to lead, and when a part of it fails: Kubernetes then starts a new one.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from lightkube import AsyncClient
from wattfleet_tenants.telemetry.health import Health, serve_health

from wattfleet_operator import metrics
from wattfleet_operator.adapters.cluster_client import cluster_client
from wattfleet_operator.adapters.cluster_lease import ClusterLeases
from wattfleet_operator.leadership import Leadership
from wattfleet_operator.settings import Settings
from wattfleet_operator.tasks import first_ends

logger = logging.getLogger(__name__)

_NOT_IN_ORDER = 1


class Operator(Protocol):
    """Whoever does the work."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Works until it is cancelled, or a part of it fails."""


async def serve(settings: Settings, operator_of: Callable[[AsyncClient, Settings], Operator]) -> None:
    """Leads when it is this one's turn, works with `operator_of(client, settings)`, and ends when it is told to."""
    health = Health()
    serve_health(health)
    client = cluster_client()
    leadership = Leadership(ClusterLeases(client, settings.namespace), settings.identity, _end_process)
    metrics.show_leading(lambda: leadership.leads)

    async def lead() -> None:
        logger.info("stands by", extra={"identity": settings.identity})
        await leadership.acquire()
        await first_ends(leadership.keep(), operator_of(client, settings).run())

    try:
        await first_ends(_told_to_stop(), health.keep_beating(), lead())
    finally:
        with suppress(Exception):
            await leadership.release()
        await client.close()


def _end_process() -> None:
    """At once: nothing that was begun may still be finished by somebody who no longer leads."""
    os._exit(_NOT_IN_ORDER)


async def _told_to_stop() -> None:
    stopped = asyncio.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, stopped.set)
    await stopped.wait()
    logger.info("stops")
