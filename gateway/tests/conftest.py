"""A gateway with a real identity provider and a database of its own, for every test anew."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from gateway_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from gateway_running import Serving, serving
from wattfleet_gateway.migrations import migrate
from wattfleet_gateway.settings import OidcClient, Settings
from wattfleet_gateway.store import open_database
from wattfleet_tenants.grants import SigningKeys, generate_signing_keys
from wattfleet_tenants.testing.programs import free_port


@pytest.fixture(scope="session")
def signing_keys() -> SigningKeys:
    return generate_signing_keys()


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running_provider(free_port()) as running:
        yield running


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once: each test begins with a copy."""
    path = tmp_path_factory.mktemp("database") / "gateway.db"
    engine = open_database(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def settings(provider: Provider, signing_keys: SigningKeys, empty_database: Path, tmp_path: Path) -> Settings:
    port = free_port()
    shutil.copy(empty_database, tmp_path / "gateway.db")
    return Settings(
        public_url=f"http://127.0.0.1:{port}",
        database_url=f"sqlite:///{tmp_path / 'gateway.db'}",
        oidc=OidcClient(provider.issuer, CLIENT_ID, CLIENT_SECRET),
        signing_key=signing_keys.private_pem,
        secret=b"0123456789abcdef0123456789abcdef",
        fleet_folder=tmp_path / "fleet",
        edge_credentials=tmp_path / "edge",
        port=port,
    )


@pytest_asyncio.fixture
async def gateway(settings: Settings, provider: Provider, signing_keys: SigningKeys) -> AsyncIterator[Serving]:
    async with serving(settings, provider, signing_keys) as running:
        yield running


@pytest.fixture
def elsewhere(settings: Settings) -> Settings:
    """The same settings, reached over https."""
    return replace(settings, public_url="https://home.example")
