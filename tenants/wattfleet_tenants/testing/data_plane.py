"""Ingests, writers and readers as the platform starts them: real processes with real settings."""

import os
import sys
from pathlib import Path

import httpx

from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import Program, free_port


class IngestProcess(Program):
    """`python -m wattfleet_tenants.ingest`."""

    def __init__(self, folder: Path, broker: ShardBroker) -> None:
        self.health_url = f"http://127.0.0.1:{(port := free_port())}"
        super().__init__([sys.executable, "-m", "wattfleet_tenants.ingest"], folder / "ingest.log", self.ready)
        edge = {"WATTFLEET_EDGE_CREDS": str(broker.ingest_edge_creds)}
        self.env = {**os.environ, **_common(broker, broker.ingest_creds, port), **edge}

    def ready(self) -> bool:
        """Whether /readyz says so."""
        return _ready(self.health_url)


class WriterProcess(Program):
    """`python -m wattfleet_tenants.writer`."""

    def __init__(self, folder: Path, broker: ShardBroker, store_url: str) -> None:
        self.health_url = f"http://127.0.0.1:{(port := free_port())}"
        super().__init__([sys.executable, "-m", "wattfleet_tenants.writer"], folder / "writer.log", self.ready)
        self.env = {
            **os.environ,
            **_common(broker, broker.writer_creds, port),
            "WATTFLEET_STORE_INSERT_URL": store_url,
        }

    def ready(self) -> bool:
        """Whether /readyz says so."""
        return _ready(self.health_url)


class ReaderProcess(Program):
    """`python -m wattfleet_tenants.reader`. grant_key: file with the PEM of the key that grants are signed with."""

    def __init__(self, folder: Path, broker: ShardBroker, store_url: str, grant_key: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.health_url = f"http://127.0.0.1:{(health_port := free_port())}"
        super().__init__([sys.executable, "-m", "wattfleet_tenants.reader"], folder / "reader.log", self.ready)
        self.env = {
            **os.environ,
            **_common(broker, broker.reader_creds, health_port),
            "WATTFLEET_STORE_SELECT_URL": store_url,
            "WATTFLEET_GRANT_KEY": str(grant_key),
            "WATTFLEET_PORT": str(port),
        }

    def ready(self) -> bool:
        """Whether /readyz says so."""
        return _ready(self.health_url)


def _common(broker: ShardBroker, creds: Path, health_port: int) -> dict[str, str]:
    return {
        "WATTFLEET_SHARD": broker.shard,
        "WATTFLEET_NATS_URLS": broker.url,
        "WATTFLEET_NATS_CREDS": str(creds),
        "WATTFLEET_HEALTH_PORT": str(health_port),
        "WATTFLEET_LOG_LEVEL": "DEBUG",
    }


def _ready(health_url: str) -> bool:
    try:
        return httpx.get(f"{health_url}/readyz", timeout=1).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
