"""The operator's parts as a process of its own, to be measured and killed: `python -m wattfleet_e2e.operator_process`.

KUBECONFIG says which cluster. Once it works it answers /metrics on the port that it was given.
"""

import asyncio
import sys
from collections.abc import Sequence

from lightkube import AsyncClient, KubeConfig
from prometheus_client import start_http_server
from wattfleet_tenants.telemetry import logs

from wattfleet_e2e.operator_parts import OperatorParts


async def main(arguments: Sequence[str]) -> None:
    """arguments: the namespace, NATS' URL, and the port for metrics."""
    namespace, nats_url, port = arguments
    client = AsyncClient(config=KubeConfig.from_env())
    parts = OperatorParts(client, namespace, nats_url)
    start_http_server(int(port), "127.0.0.1")
    await parts.run()


if __name__ == "__main__":
    logs.configure("operator")
    asyncio.run(main(sys.argv[1:]))
