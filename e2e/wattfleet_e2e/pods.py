"""Pods that run, where no node runs any: their status says so, as a kubelet would; all that follows is real."""

import asyncio
from contextlib import suppress

import httpx2
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

_LOOK_EVERY_S = 0.2
_RUNS = {
    "phase": "Running",
    "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "ContainersReady", "Ready")],
}


async def pods_run(client: AsyncClient, namespace: str) -> None:
    """Every pod of `namespace` runs and is ready, until this is cancelled. It looks past errors: pods come and go."""
    while True:
        with suppress(httpx2.HTTPError):
            async for pod in client.list(Pod, namespace=namespace):
                name = pod.metadata.name if pod.metadata is not None else None
                if name and (pod.status is None or pod.status.phase != _RUNS["phase"]):
                    await client.patch(
                        Pod.Status, name, {"status": _RUNS}, namespace=namespace, patch_type=PatchType.MERGE
                    )
        await asyncio.sleep(_LOOK_EVERY_S)
