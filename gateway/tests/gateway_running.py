"""A gateway that serves on a free port, and what is around it: fakes of our own ports, a provider, browsers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2
from fastapi import FastAPI
from gateway_fakes import FakeEdge, FakeFleet, FakeHistory
from gateway_provider import Provider
from gateway_serving import served
from wattfleet_gateway.app import Ports, create_app
from wattfleet_gateway.live import Pace
from wattfleet_gateway.settings import Settings
from wattfleet_gateway.wiring import Gateway
from wattfleet_tenants.grants import SigningKeys
from wattfleet_tenants.household import HouseholdId, mint_household_id

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


@asynccontextmanager
async def serving(settings: Settings, provider: Provider | None, signing_keys: SigningKeys) -> AsyncIterator[Serving]:
    fleet, history, edge = FakeFleet(), FakeHistory(), FakeEdge()
    app = create_app(settings, Ports(fleet, history, edge, QUICK))
    async with served(app, settings.port), AsyncExitStack() as clients:
        yield Serving(app, settings, provider, fleet, history, edge, signing_keys, clients)
