"""Whether a reader could answer now: it asks the store and looks at its connection every few seconds."""

import asyncio

from wattfleet_tenants.adapters.nats_connection import NatsConnection
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import History, Unavailable
from wattfleet_tenants.telemetry.health import Health

_LOOK_EVERY_S = 2.0
_NOBODY = HouseholdId("h" + "0" * 20)


async def watch(health: Health, connection: NatsConnection, history: History) -> None:
    """Reports on the store and the broker for ever."""
    while True:
        try:
            await history.last(_NOBODY, 0, 60)
            health.ok("store")
        except Unavailable as error:
            health.trouble("store", str(error))
        if connection.is_connected:
            health.ok("broker")
        else:
            health.trouble("broker", "NATS is away")
        await asyncio.sleep(_LOOK_EVERY_S)
