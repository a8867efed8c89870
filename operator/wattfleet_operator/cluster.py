"""The operator of a cluster, put together: its doors to the outside, its loop, and what it has to have made first."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from lightkube import AsyncClient

from wattfleet_operator.adapters.cluster_events import ClusterEvents
from wattfleet_operator.adapters.cluster_objects import ClusterObjects
from wattfleet_operator.adapters.cluster_resources import ClusterResources
from wattfleet_operator.adapters.cluster_secrets import ClusterHomes, ClusterVault
from wattfleet_operator.adapters.cluster_store import ClusterStore
from wattfleet_operator.adapters.cluster_workloads import ClusterWorkloads
from wattfleet_operator.adapters.nats_accounts import accounts_configuration
from wattfleet_operator.adapters.nats_broker import NatsBroker
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.handlers import watch
from wattfleet_operator.loop import SWEEP_EVERY_S, Loop
from wattfleet_operator.ports import Store, Workloads, World
from wattfleet_operator.roll_call import KEYS_COMPARED_EVERY_S, ROLL_CALL_EVERY_S, call_roll, keep_keys
from wattfleet_operator.settings import Settings
from wattfleet_operator.signing_keys import ensure_signing_keys
from wattfleet_operator.tasks import first_ends

NATS_ACCOUNTS = "nats-server/accounts.conf"
"""What the chart's NATS servers include in their configuration; they wait for it."""
NATS_ROUTES = "nats-routes/password"
"""By this the chart's NATS servers know each other, if there are several."""
_RESOLVER = "/data/resolver"
_GATEWAY_SECRET = "gateway/secret"  # noqa: S105 (a name in the vault)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a resource of a kind that is well is left alone, and how long it can go unseen that something went."""

    sweep_every_s: Mapping[str, float] = field(default_factory=lambda: SWEEP_EVERY_S)
    roll_call_every_s: float = ROLL_CALL_EVERY_S


DEFAULT_PACE = Pace()


class ClusterOperator:
    """The operator on `client`. store, workloads: others than the cluster's own, where no node runs any pods."""

    def __init__(
        self,
        client: AsyncClient,
        settings: Settings,
        store: Store | None = None,
        workloads: Workloads | None = None,
        clock: Callable[[], datetime] = _now,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._http = httpx.AsyncClient(trust_env=False)
        self.vault = ClusterVault(client, settings.namespace)
        self.resources = ClusterResources(client)
        self.homes = ClusterHomes(client, settings.namespace, self.resources)
        self.objects = ClusterObjects(client, settings.namespace, self.resources)
        self.broker = NatsBroker(settings.nats_urls, self.vault, settings.edge_urls, settings.stream_replicas)
        shared = settings.shared_store
        world = World(
            self.broker,
            store or ClusterStore(self.objects, self.resources, settings.look, shared, self._http),
            workloads or ClusterWorkloads(self.objects, settings.look, settings.nats_urls),
            self.vault,
            self.homes,
            self.resources,
            ClusterEvents(client, self.resources),
            clock,
        )
        self.loop = Loop(world, pace.sweep_every_s)

    async def run(self) -> None:
        """Works until it is cancelled, or a part of it fails."""
        try:
            await self._prepare()
            watching = watch(self.resources, self.homes, self.objects, self.loop, self._settings.namespace)
            calling = call_roll(self.resources, self.homes, self.objects, self.loop, self._pace.roll_call_every_s)
            keeping = keep_keys(self.vault, KEYS_COMPARED_EVERY_S)
            await first_ends(self.loop.run(), watching, calling, keeping)
        finally:
            await self.broker.close()
            await self._http.aclose()

    async def _prepare(self) -> None:
        """What NATS and the gateway wait for is there, and what the cluster holds is known."""
        configuration = await accounts_configuration(NatsIdentities(self.vault), _RESOLVER)
        await self.vault.keep(NATS_ACCOUNTS, lambda: configuration)
        await self.vault.keep(NATS_ROUTES, lambda: secrets.token_hex(32))
        await ensure_signing_keys(self.vault)
        await self.vault.keep(_GATEWAY_SECRET, lambda: secrets.token_urlsafe(48))
        await asyncio.gather(self.resources.load(), self.homes.load(), self.objects.load())
