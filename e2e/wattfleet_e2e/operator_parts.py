"""The operator's parts on a cluster's API and a broker of its own, where no node runs a shard's processes.

A shard's store and its workloads say that they are there; everything else is real.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lightkube import AsyncClient
from wattfleet_operator.adapters.cluster_secrets import ClusterVault
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.cluster import DEFAULT_PACE, ClusterOperator, Pace
from wattfleet_operator.embedded.nats_server import nats_process
from wattfleet_operator.manifests.shard_objects import Look
from wattfleet_operator.ports import Running, StoreUrls, Workloads
from wattfleet_operator.settings import Settings
from wattfleet_tenants.crd import Shard
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.programs import Program


@dataclass
class StoreIsThere:
    """A store of which nothing is asked but to erase."""

    erased: list[HouseholdId] = field(default_factory=list)

    async def ensure(self, shard: Shard) -> StoreUrls:
        """The store is there."""
        return StoreUrls(f"http://store-{shard.id}", f"http://store-{shard.id}")

    async def check(self, shard: ShardId) -> None:
        """It works."""

    async def has_series(self, shard: ShardId, household: HouseholdId) -> bool:  # noqa: ARG002 (the port has it)
        """Nothing was ever stored."""
        return False

    async def erase(self, shard: ShardId, household: HouseholdId) -> None:  # noqa: ARG002 (the port has it)
        """Remembers whose series were to be deleted."""
        self.erased.append(household)

    async def stop(self, shard: ShardId) -> None:
        """There is nothing to stop."""


class WorkloadsAreThere:
    """An ingest, a writer and a reader that work."""

    async def ensure(self, shard: Shard, store: StoreUrls) -> str:  # noqa: ARG002 (the port has it)
        """They are there."""
        return f"http://reader-{shard.id}"

    async def check(self, shard: ShardId) -> Running:  # noqa: ARG002 (the port has it)
        """They work."""
        return Running()

    async def stop(self, shard: ShardId) -> None:
        """There is nothing to stop."""


WORKLOADS_ARE_THERE = WorkloadsAreThere()


async def broker_server(vault: ClusterVault, port: int, folder: Path) -> Program:
    """A NATS server whose keys are those of `vault`."""
    process = await nats_process(NatsIdentities(vault), port, folder / "nats")
    return Program(list(process.argv), folder / "nats.log", lambda: True)


def settings_of(namespace: str, nats_url: str) -> Settings:
    """Those of an operator of which nothing runs on a node."""
    return Settings(Look(namespace, "tenants", "store"), (nats_url,), (nats_url,), secrets.token_hex(8))


class OperatorParts(ClusterOperator):
    """The operator of `namespace` on `client`. workloads: None for those of a cluster. later: how far its clock is
    ahead."""

    def __init__(
        self,
        client: AsyncClient,
        namespace: str,
        nats_url: str,
        workloads: Workloads | None = WORKLOADS_ARE_THERE,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self.later = timedelta()
        self.store = StoreIsThere()
        super().__init__(client, settings_of(namespace, nats_url), self.store, workloads, self._clock, pace)

    def _clock(self) -> datetime:
        return datetime.now(UTC) + self.later
