"""A gateway that serves on a free port, with a real identity provider, and fakes of our own ports behind it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from fastapi import FastAPI
from gateway_fakes import FakeEdge, FakeFleet, FakeHistory
from gateway_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from gateway_serving import served
from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.live import Pace
from wattfleet_gateway.migrations import migrate
from wattfleet_gateway.settings import OidcClient, Settings
from wattfleet_gateway.store import open_database
from wattfleet_gateway.wiring import Gateway
from wattfleet_tenants.grants import SigningKeys, generate_signing_keys
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.programs import free_port

# Everything that takes seconds for people takes tenths here.
QUICK = Pace(lease=3.0, renew=0.5, silence=0.3, fall_back=0.2, ask_again=0.5)


@dataclass
class Serving:
    """A gateway that serves, and what is around it."""

    app: FastAPI
    settings: Settings
    provider: Provider | None
    fleet: FakeFleet
    history: FakeHistory
    edge: FakeEdge
    keys: SigningKeys
    clients: AsyncExitStack

    @property
    def parts(self) -> Gateway:
        return self.app.state.gateway

    @property
    def url(self) -> str:
        return self.settings.public_url

    async def browser(self) -> httpx2.AsyncClient:
        """A browser with an empty cookie jar, showing one of our own pages."""
        client = httpx2.AsyncClient(
            base_url=self.url, headers={"Origin": self.url}, trust_env=False, timeout=10, verify=False
        )
        return await self.clients.enter_async_context(client)

    async def signed_in(self, subject: str = "alice", name: str = "Alice Ampere") -> httpx2.AsyncClient:
        """A browser in which that person signed in."""
        browser = await self.browser()
        self.provider.who = {"sub": subject, "name": name}
        back = await browser.get("/auth/sign-in", params={"return_to": "/api/v1/viewer"}, follow_redirects=True)
        assert back.status_code == 200, back.text
        return browser

    def home_of(self, subject: str, name: str = "A home", sockets: tuple[str, ...] = ()) -> HouseholdId:
        """A new household that this person may see."""
        household, store = mint_household_id(), self.parts.store
        store.ensure_household(household, name, store.ensure_user(self.settings.oidc.issuer, subject))
        for index, socket in enumerate(sockets):
            store.name_socket(household, index + 1, socket)
        return household


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


@asynccontextmanager
async def serving(settings: Settings, provider: Provider | None, signing_keys: SigningKeys) -> AsyncIterator[Serving]:
    fleet, history, edge = FakeFleet(), FakeHistory(), FakeEdge()
    app = create_app(settings, Ports(fleet, history, edge, QUICK))
    async with served(app, settings.port), AsyncExitStack() as clients:
        yield Serving(app, settings, provider, fleet, history, edge, signing_keys, clients)


@pytest_asyncio.fixture
async def gateway(settings: Settings, provider: Provider, signing_keys: SigningKeys) -> AsyncIterator[Serving]:
    async with serving(settings, provider, signing_keys) as running:
        yield running


@pytest.fixture
def elsewhere(settings: Settings) -> Settings:
    """The same settings, reached over https."""
    return replace(settings, public_url="https://home.example")
