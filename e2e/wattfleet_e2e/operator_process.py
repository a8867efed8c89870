"""The operator as a process, to be measured and killed, where no node runs a shard: `python -m
wattfleet_e2e.operator_process NAMESPACE NATS_URL PORT`.

KUBECONFIG says which cluster. It answers /metrics and /readyz on the port that it was given.
"""

import asyncio
import os
import sys

from lightkube import AsyncClient
from wattfleet_operator.serving import serve
from wattfleet_operator.settings import Settings
from wattfleet_tenants.telemetry import logs

from wattfleet_e2e.operator_parts import OperatorParts, settings_of


def _parts(client: AsyncClient, settings: Settings) -> OperatorParts:
    return OperatorParts(client, settings.namespace, settings.nats_urls[0])


if __name__ == "__main__":
    logs.configure("operator")
    namespace, nats_url, port = sys.argv[1:]
    os.environ["WATTFLEET_HEALTH_PORT"] = port
    asyncio.run(serve(settings_of(namespace, nats_url), _parts))
