"""A gateway with a real identity provider and a database of its own, for every test anew."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from gateway_postgresql import PostgreSql
from gateway_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from gateway_running import Serving, serving
from wattfleet_gateway.database import open_database
from wattfleet_gateway.migrations import migrate
from wattfleet_gateway.settings import OidcClient, Settings
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


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSql]:
    """A server for all tests, each with a database of its own; `migrated` is what they are copied from."""
    folder = tmp_path_factory.mktemp("postgresql")
    server = PostgreSql(folder)
    server.program.start()
    engine = open_database(server.make("migrated"))
    migrate(engine)
    engine.dispose()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def sqlite_url(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "gateway.db")
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture
def postgresql_url(postgresql: PostgreSql) -> str:
    return postgresql.make(f"test_{secrets.token_hex(8)}", like="migrated")


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of this test's own, up to date: SQLite, or of the kind that the test is parametrised with."""
    return request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")


@pytest.fixture
def settings(provider: Provider, signing_keys: SigningKeys, database_url: str, tmp_path: Path) -> Settings:
    port = free_port()
    return Settings(
        public_url=f"http://127.0.0.1:{port}",
        database_url=database_url,
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


@pytest.fixture
def environment(tmp_path: Path, signing_keys: SigningKeys) -> dict[str, str]:
    """What a gateway's process is told."""
    for name, text in (("key", signing_keys.private_pem), ("secret", "s" * 48), ("client", "the client's secret")):
        (tmp_path / name).write_text(text)
    port = free_port()
    return {
        **os.environ,
        "WATTFLEET_PORT": str(port),
        "WATTFLEET_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WATTFLEET_DATABASE_URL": f"sqlite:///{tmp_path / 'data' / 'gateway.db'}",
        "WATTFLEET_OIDC_ISSUER": f"http://127.0.0.1:{free_port()}",
        "WATTFLEET_OIDC_CLIENT_ID": CLIENT_ID,
        "WATTFLEET_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "client"),
        "WATTFLEET_SIGNING_KEY": str(tmp_path / "key"),
        "WATTFLEET_FLEET_FOLDER": str(tmp_path / "fleet"),
        "WATTFLEET_EDGE_CREDS": str(tmp_path / "edge"),
        "WATTFLEET_SECRET_FILE": str(tmp_path / "secret"),
        "WATTFLEET_HEALTH_PORT": str(free_port()),
    }
