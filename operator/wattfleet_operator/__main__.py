"""The operator's front door in a cluster: `python -m wattfleet_operator`, set up by WATTFLEET_… variables."""

import asyncio

from wattfleet_tenants.telemetry import logs

from wattfleet_operator.cluster import ClusterOperator
from wattfleet_operator.serving import serve
from wattfleet_operator.settings import read_settings

if __name__ == "__main__":
    logs.configure("operator")
    asyncio.run(serve(read_settings(), ClusterOperator))
