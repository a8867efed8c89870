"""A namespace, a broker and a shard of their own, for operators that come and go while things go wrong."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from lightkube import AsyncClient, KubeConfig
from wattfleet_operator.adapters.cluster_secrets import ClusterVault, secret_name
from wattfleet_operator.cluster import DEFAULT_PACE, Pace
from wattfleet_operator.household import ERASED_AGAIN_AFTER
from wattfleet_operator.ports import Workloads
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import eventually

from wattfleet_e2e.kube_api import KubeApi
from wattfleet_e2e.operator_parts import WORKLOADS_ARE_THERE, OperatorParts, broker_server
from wattfleet_e2e.seeing import seen

WITHIN_S = 60
OF_THE_PLATFORM = {f"wattfleet-{of}" for of in ("gateway", "nats", "nats-routes", "nats-server", "signing")}


class Faulty:
    """A namespace, a broker and a shard of their own, for operators that come and go."""

    def __init__(self, cluster: KubeApi, folder: Path) -> None:
        self.cluster = cluster
        self.kubeconfig = cluster.kubeconfig
        self.namespace = f"faults-{secrets.token_hex(4)}"
        self.shard = f"f{secrets.token_hex(4)}"
        self.port = free_port()
        self.folder = folder
        self.server: Program | None = None

    def client(self, transport: httpx2.AsyncHTTPTransport | None = None) -> AsyncClient:
        """An operator's."""
        config = KubeConfig.from_file(str(self.kubeconfig))
        if transport is None:
            return AsyncClient(config=config, field_manager="wattfleet-operator")
        return AsyncClient(config=config, transport=transport, field_manager="wattfleet-operator")

    @asynccontextmanager
    async def operator(
        self,
        transport: httpx2.AsyncHTTPTransport | None = None,
        workloads: Workloads | None = WORKLOADS_ARE_THERE,
        pace: Pace = DEFAULT_PACE,
    ) -> AsyncIterator[OperatorParts]:
        """One that works until the block is left. kopf finds the cluster by KUBECONFIG."""
        client = self.client(transport)
        parts = OperatorParts(client, self.namespace, f"nats://127.0.0.1:{self.port}", workloads, pace)
        running = asyncio.create_task(parts.run())
        try:
            yield parts
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.close()

    def kubectl(self, *arguments: str) -> str:
        """As an administrator, whatever the operator is cut off from."""
        return self.cluster.kubectl(*arguments)

    def wish(self, household: HouseholdId, **spec: object) -> HouseholdId:
        """Such a household is wished for."""
        metadata = {"name": household}
        self.cluster.apply(
            {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": metadata, "spec": spec}
        )
        return household

    def reason(self, kind: str, name: str) -> str | None:
        """Why it is Ready or not."""
        answer = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        conditions = (json.loads(answer) if answer else {}).get("status", {}).get("conditions", [])
        return next((one["reason"] for one in conditions if one["type"] == "Ready"), None)

    async def is_ready(self, household: HouseholdId, within_s: float = WITHIN_S) -> None:
        """Waits for it."""
        await seen(lambda: self.reason("household", household) == "Ready", within_s, "it is Ready")

    def credentials(self, household: HouseholdId) -> str | None:
        """What its home file lets it in with."""
        answer = self.kubectl(
            "get", "secret", secret_name(household), "-n", self.namespace, "-o", "json", "--ignore-not-found"
        )
        if not answer:
            return None
        home: dict[str, Any] = json.loads(base64.b64decode(json.loads(answer)["data"]["home.json"]))
        return str(home["credentials"])

    async def start(self) -> None:
        """The namespace, the broker and a shard that is Ready."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        client = self.client()
        self.server = await broker_server(ClusterVault(client, self.namespace), self.port, self.folder)
        await client.close()
        self.server.start()
        self.cluster.apply({"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": self.shard}})
        async with self.operator():
            await seen(lambda: self.reason("shard", self.shard) == "Ready", WITHIN_S, "a Ready shard")

    async def remove_everything(self) -> None:
        """Of households and shards nothing is left, keys included."""
        async with self.operator() as parts:
            for kind in ("households", "shards"):
                await self._remove(kind, parts)
        await seen(lambda: self.secrets() == OF_THE_PLATFORM, WITHIN_S, "no key of theirs is left")

    def secrets(self) -> set[str]:
        """The names of all Secrets."""
        listed = self.kubectl("get", "secrets", "-n", self.namespace, "-o", "name")
        return {name.removeprefix("secret/") for name in listed.split()}

    async def _remove(self, kind: str, parts: OperatorParts) -> None:
        self.kubectl("delete", kind, "--all", "--wait=false")

        async def none_left() -> bool:
            parts.later += ERASED_AGAIN_AFTER
            parts.loop.wake()
            return not await asyncio.to_thread(self.kubectl, "get", kind, "-o", "name")

        _: bool = await eventually(none_left, WITHIN_S, f"no {kind} are left")
