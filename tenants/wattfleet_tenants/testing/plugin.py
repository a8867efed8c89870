"""The pytest plugin: real servers as fixtures. Found by every member's tests through the entry point `wattfleet`.

broker             a fresh nats-server with one shard's accounts, streams, consumers and buckets
ingest             the broker's ingest, so that agents are answered
victoria_metrics   one VictoriaMetrics for the whole test run; tests keep apart by household id
own_victoria_metrics   one for this test alone, to be killed; it flushes to disk every second
household          a new household id, assigned to nothing yet
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from wattfleet_tenants.household import HouseholdId, mint_household_id

if TYPE_CHECKING:  # imported late below: pytest loads this plugin before it measures or rewrites anything
    from wattfleet_tenants.testing.data_plane import IngestProcess
    from wattfleet_tenants.testing.nats_server import ShardBroker
    from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics


@pytest.fixture
def household() -> HouseholdId:
    """A new household's id."""
    return mint_household_id()


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncIterator[ShardBroker]:
    """A shard's broker, ready for agents and writers."""
    from wattfleet_tenants.testing.nats_server import ShardBroker

    broker = ShardBroker(tmp_path / "nats")
    broker.start()
    try:
        await broker.ensure()
        yield broker
    finally:
        broker.server.kill()


@pytest.fixture
def ingest(tmp_path: Path, broker: ShardBroker) -> Iterator[IngestProcess]:
    """The ingest of the shard's broker."""
    from wattfleet_tenants.testing.data_plane import IngestProcess

    process = IngestProcess(tmp_path, broker)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture(scope="session")
def victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    """A store that all tests share."""
    yield from _store(tmp_path_factory.mktemp("victoria-metrics"), 5)


@pytest.fixture
def own_victoria_metrics(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """A store of this test's own."""
    yield from _store(tmp_path, 1)


def _store(folder: Path, flush_s: int) -> Iterator[VictoriaMetrics]:
    from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics

    store = VictoriaMetrics(folder, flush_s)
    store.start()
    try:
        yield store
    finally:
        store.kill()
