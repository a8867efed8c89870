"""The operator's front door in a cluster: `python -m wattfleet_operator`, set up by WATTFLEET_… variables.

Of several only the leader acts; the others stand by, ready to take over. It ends by itself when it is told to, when it
can no longer be sure to lead, and when a part of it fails: Kubernetes then starts a new one.
"""

import asyncio
import logging
import os
import signal
from contextlib import suppress

from lightkube import AsyncClient
from wattfleet_tenants.telemetry import logs
from wattfleet_tenants.telemetry.health import Health, serve_health

from wattfleet_operator import metrics
from wattfleet_operator.adapters.cluster import FIELD_MANAGER
from wattfleet_operator.adapters.cluster_lease import ClusterLeases
from wattfleet_operator.cluster import ClusterOperator
from wattfleet_operator.leadership import Leadership
from wattfleet_operator.settings import Settings, read_settings
from wattfleet_operator.tasks import first_ends

logger = logging.getLogger(__name__)

_NOT_IN_ORDER = 1


def _end_process() -> None:
    """At once: nothing that was begun may still be finished by somebody who no longer leads."""
    os._exit(_NOT_IN_ORDER)


async def main(settings: Settings) -> None:
    """Leads when it is this one's turn, and works until it is told to stop."""
    health = Health()
    serve_health(health)
    client = AsyncClient(field_manager=FIELD_MANAGER)
    leadership = Leadership(ClusterLeases(client, settings.namespace), settings.identity, _end_process)
    metrics.show_leading(lambda: leadership.leads)
    stopped = asyncio.Event()
    for signalled in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signalled, stopped.set)
    try:
        await first_ends(_stop_on(stopped), health.keep_beating(), _lead(leadership, client, settings))
    finally:
        with suppress(Exception):
            await leadership.release()
        await client.close()


async def _stop_on(stopped: asyncio.Event) -> None:
    await stopped.wait()
    logger.info("stops")


async def _lead(leadership: Leadership, client: AsyncClient, settings: Settings) -> None:
    logger.info("stands by", extra={"identity": settings.identity})
    await leadership.acquire()
    await first_ends(leadership.keep(), ClusterOperator(client, settings).run())


if __name__ == "__main__":
    logs.configure("operator")
    asyncio.run(main(read_settings()))
