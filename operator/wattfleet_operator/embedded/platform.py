"""The whole platform on one machine, in one folder: what `make demo` runs and what the end-to-end tests start.

`Platform` is a context: entering it starts the broker, the operator's loop, one shard and, as far as asked for, the
doors for people; leaving it stops everything in reverse order. Every process of another member is started by its
command, so that nothing here knows their code.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from enum import IntEnum
from pathlib import Path
from time import monotonic

import yaml
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import Household, HouseholdSpec, Metadata, Shard
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.telemetry.health import Health, start_health_server

from wattfleet_operator.adapters.folder_homes import FolderHomes
from wattfleet_operator.adapters.folder_resources import FolderResources
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.logged_news import LoggedNews
from wattfleet_operator.adapters.nats_broker import NatsBroker
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.adapters.processes import ProcessWorkloads
from wattfleet_operator.adapters.victoria_metrics import VictoriaMetricsStore
from wattfleet_operator.embedded.free_ports import FreePorts, is_free
from wattfleet_operator.embedded.identity_provider import IdentityProvider, Person
from wattfleet_operator.embedded.installation import held, stop_leftovers
from wattfleet_operator.embedded.nats_server import nats_process
from wattfleet_operator.embedded.people_doors import Gateway, HomeOwnership, Page
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.programs import CannotStart, find_program
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.loop import Loop
from wattfleet_operator.ports import World
from wattfleet_operator.signing_keys import ensure_signing_keys

__all__ = ["CannotStart", "Parts", "Person", "Platform"]

SHARD_EXAMPLE = Path(__file__).parents[2] / "examples" / "shard.yaml"
_READY_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1


class Parts(IntEnum):
    """How much of the platform to start; each includes the ones before."""

    DATA_PLANE = 1
    GATEWAY = 2
    EVERYTHING = 3


class Platform:
    """Wattfleet in the folder `home`. page_port: where people come in; None picks a free port and remembers it.

    people: who can sign in from the beginning. on_step: told what happens next, in a few words. Entering raises
    CannotStart with one line that says what to do.
    """

    def __init__(
        self,
        home: Path,
        page_port: int | None = None,
        parts: Parts = Parts.DATA_PLANE,
        people: Sequence[Person] = (),
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.home = home.resolve()
        self.resources = ResourceFolder(self.home / "fleet")
        self.supervisor = Supervisor(self.home, self._wake)
        self._homes = FolderHomes(self.home / "homes")
        self._parts = parts
        self._people = people
        self._page_port = page_port
        self._step = on_step
        self.vault = FolderVault(self.home / "vault")
        self._stack = contextlib.AsyncExitStack()
        self._loop: Loop | None = None
        self._page: Page | None = None

    async def __aenter__(self) -> "Platform":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where people come in."""
        return f"http://127.0.0.1:{self._page_port}"

    async def add_person(self, person: Person) -> None:
        """`person` can sign in; somebody who is known already stays as they are."""
        await self._identity_provider.add(person)

    async def add_household(
        self,
        household: HouseholdId,
        title: str,
        owner: Person | None = None,
        sockets: Sequence[str] = (),
        time_zone: str = "Europe/Paris",
    ) -> None:
        """The household is wished for, unless it is already, and `owner` may see it, if one is given."""
        if self.resources.household(household) is None:
            spec = HouseholdSpec(time_zone=time_zone)
            self.resources.apply(Household(metadata=Metadata(name=household), spec=spec))
        if owner is not None:
            issuer = self._identity_provider.issuer
            await self._gateway.remember(HomeOwnership(household, title, issuer, owner.user, tuple(sockets)))

    async def home_file(self, household: HouseholdId, within_s: float = 30.0) -> Path:
        """Where the household's home file lies, as soon as it is Ready; raises TimeoutError with what is missing."""
        await _eventually(lambda: _trouble(self.resources.household(household)), within_s, household)
        return self._homes.path(household)

    async def start_agent(self, name: str, household: HouseholdId, sensor: str, history_days: int = 0) -> str:
        """An agent of the household runs as process `agent-<name>`. Returns the URL of its health and metrics."""
        home_file = await self.home_file(household)
        health_port = self.ports.port(f"agent-{name}-health")
        outbox = self.home / "agents" / f"{name}.outbox.db"
        outbox.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = ["--home", str(home_file), "--sensor", sensor, "--outbox", str(outbox)]
        if history_days:
            options += ["--history", str(history_days)]
        argv = (sys.executable, "-m", "wattfleet_agent", "run", *options)
        health = f"http://127.0.0.1:{health_port}"
        await self.supervisor.ensure(
            Process(f"agent-{name}", argv, {"WATTFLEET_HEALTH_PORT": str(health_port)}, f"{health}/healthz", health)
        )
        return health

    async def _start(self) -> None:
        self._stack.enter_context(held(self.home))
        self._step(f"Starting Wattfleet in {self.home}")
        stopped = await asyncio.to_thread(stop_leftovers, self.home)
        if stopped:
            self._step(f"Stopped what an earlier run had left: {', '.join(stopped)}")
        self.ports = FreePorts(self.home / "ports.json")
        self._page_port = self._checked_page_port()
        await self._stack.enter_async_context(self.supervisor)
        starting = [self._start_data_plane()]
        if self._parts >= Parts.GATEWAY:
            starting.append(self._start_identity_provider())
        if self._parts >= Parts.EVERYTHING:
            starting.append(self._start_page())
        await _together(starting)
        if self._parts >= Parts.GATEWAY:
            await self._start_gateway()

    def _checked_page_port(self) -> int:
        if self._page_port is None:
            return self.ports.port("page")
        if not is_free(self._page_port):
            raise CannotStart(f"port {self._page_port} is taken: choose another with --port N (or `make demo PORT=N`)")
        return self._page_port

    async def _start_data_plane(self) -> None:
        port, store_program = self.ports.port("nats"), find_program("victoria-metrics", "victoria-metrics-prod")
        await self._run(await nats_process(NatsIdentities(self.vault), port, self.home / "nats"), "NATS")
        await ensure_signing_keys(self.vault)
        broker = NatsBroker((f"nats://127.0.0.1:{port}",), self.vault)
        self._stack.push_async_callback(broker.close)
        world = World(
            broker,
            VictoriaMetricsStore(self.supervisor, self.ports, self.home / "store", store_program),
            ProcessWorkloads(self.supervisor, self.ports, self.vault, broker.servers),
            self.vault,
            self._homes,
            FolderResources(self.resources),
            LoggedNews(),
        )
        await self._start_operator(world)

    async def _start_operator(self, world: World) -> None:
        shard = Shard.model_validate(yaml.safe_load(SHARD_EXAMPLE.read_text()))
        if self.resources.shard(shard.id) is None:
            self.resources.apply(shard)
        self._loop = Loop(world)
        while await self._loop.look():  # at all of them, so that no status of an earlier run is taken for true
            pass
        health = self._serve_health()
        operator = [asyncio.create_task(work) for work in (self._loop.run(), health.keep_beating())]
        self._stack.push_async_callback(_cancelled, operator)
        await _eventually(lambda: _trouble(self.resources.shard(shard.id)), _READY_WITHIN_S, f"shard {shard.id}")
        self._step(f"Shard {shard.id} is ready: VictoriaMetrics, ingest, writer, reader")

    def _serve_health(self) -> Health:
        """The operator's own metrics and health, like those of every process."""
        health = Health()
        server = start_health_server(health, self.ports.port("operator-health"))
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return health

    async def _start_identity_provider(self) -> None:
        port, folder = self.ports.port("identity"), self.home / "identity"
        self._identity_provider = IdentityProvider(self.vault, port, folder, self.url)
        await self._run(await self._identity_provider.prepare(self._people), "The identity provider")

    async def _start_page(self) -> None:
        self._page = Page(self.ports.port("ui"))
        await self._run(self._page.process(self.url), "The page")

    async def _start_gateway(self) -> None:
        self._gateway = Gateway(self.vault, self.url, self.home / "gateway", self.resources.root)
        health_port = self.ports.port("gateway-health")
        await self._run(
            await self._gateway.process(self._identity_provider.issuer, health_port, self._page), "The gateway"
        )

    async def _run(self, process: Process, called: str) -> None:
        await self.supervisor.ensure(process)
        await self.supervisor.ready(process.name, _READY_WITHIN_S)
        self._step(f"{called} is ready")

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()


def _trouble(resource: Household | Shard | None) -> str | None:
    """Why the resource is not Ready, None when it is."""
    if resource is None:
        return "it is not there"
    if resource.status.ready:
        return None
    conditions = resource.status.conditions
    return f"{conditions[0].reason}: {conditions[0].message}" if conditions else "the operator has not seen it yet"


async def _eventually(trouble: Callable[[], str | None], within_s: float, what: str) -> None:
    deadline = monotonic() + within_s
    while found := trouble():
        if monotonic() > deadline:
            raise TimeoutError(f"{what} is not Ready within {within_s:.0f} s: {found}")
        await asyncio.sleep(_LOOK_EVERY_S)


async def _together(steps: Sequence[Coroutine[None, None, None]]) -> None:
    """All of them at once; the first that fails stops the others."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _cancelled(tasks)


async def _cancelled(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
