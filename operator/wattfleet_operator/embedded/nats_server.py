"""The platform's NATS server on one machine: operator mode, the full resolver, JetStream on disk, one port.

No monitoring port, no clustering, no MQTT: clients on 127.0.0.1.
"""

import json
from pathlib import Path

from wattfleet_tenants.server_settings import BROKER_SETTINGS

from wattfleet_operator.adapters.nats_accounts import accounts_configuration
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.programs import find_program

_CONFIGURATION = """\
server_name: wattfleet
listen: "127.0.0.1:{port}"
{accounts}
# What is acknowledged survives a power cut: it is on disk before the answer. With the readings of hundreds of homes in
# one message that costs nothing that could be measured (4-7 us of this server per reading's message, 130,000 a second,
# as with "2s"); with the default of two minutes the stream was gone.
jetstream: {{ store_dir: {store}, max_memory_store: 16MB, max_file_store: 32GB, sync_interval: always }}
# max_file_store is for seven shards: each reserves 4.25 GiB, of which it takes what waits to be stored.
{settings}"""


async def nats_process(identities: NatsIdentities, port: int, folder: Path) -> Process:
    """The server on `port` with all its data in `folder`. Its configuration is written at every start."""
    configuration = _CONFIGURATION.format(
        port=port,
        accounts=await accounts_configuration(identities, str(folder / "resolver")),
        store=json.dumps(str(folder)),
        settings=BROKER_SETTINGS,
    )
    argv = (find_program("nats-server"), "-c", str(_written(folder / "nats-server.conf", configuration)))
    return Process("nats", argv, ready_url=f"tcp://127.0.0.1:{port}", url=f"nats://127.0.0.1:{port}")


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
