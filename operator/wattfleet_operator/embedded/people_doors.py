"""The processes through which people come in: the gateway, and the page's backend behind it.

Both are started by their command. What they need to know is handed over in their environment, secrets as paths.
"""

import importlib.util
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGTERM

from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.embedded.commands import output_of
from wattfleet_operator.embedded.identity_provider import CLIENT_ID, CLIENT_SECRET
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.programs import CannotStart, find_program
from wattfleet_operator.signing_keys import PRIVATE

_SECRET = "gateway/secret"  # noqa: S105 (a name in the vault)


@dataclass(frozen=True, slots=True)
class HomeOwnership:
    """Whose a household is. issuer and subject: who its owner is at the identity provider."""

    household: str
    title: str
    issuer: str
    subject: str
    sockets: tuple[str, ...]


class Gateway:
    """The gateway at `url`, its database in `folder`; `fleet` is the folder of resources."""

    def __init__(self, vault: FolderVault, url: str, folder: Path, fleet: Path) -> None:
        self._vault = vault
        self._url = url
        self._folder = folder
        self._fleet = fleet

    async def process(self, issuer: str, health_port: int, page: "Page | None") -> Process:
        """The gateway as a process, for the people that `issuer` knows, with a page in front when there is one."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._vault.keep(_SECRET, lambda: secrets.token_urlsafe(48))
        env = {
            "WATTFLEET_HOST": "127.0.0.1",
            "WATTFLEET_PORT": self._url.rpartition(":")[2],
            "WATTFLEET_PUBLIC_URL": self._url,
            "WATTFLEET_DATABASE_URL": self._database_url(),
            "WATTFLEET_OIDC_ISSUER": issuer,
            "WATTFLEET_OIDC_CLIENT_ID": CLIENT_ID,
            "WATTFLEET_OIDC_CLIENT_SECRET_FILE": str(self._vault.path(CLIENT_SECRET)),
            "WATTFLEET_SIGNING_KEY": str(self._vault.path(PRIVATE)),
            "WATTFLEET_FLEET_FOLDER": str(self._fleet),
            "WATTFLEET_EDGE_CREDS": str(self._vault.path("edge")),
            "WATTFLEET_SECRET_FILE": str(self._vault.path(_SECRET)),
            "WATTFLEET_HEALTH_PORT": str(health_port),
        }
        if page is not None:
            env |= {"WATTFLEET_UI_FOLDER": str(page.folder), "WATTFLEET_UI_BACKEND_URL": page.backend_url}
        argv = (sys.executable, "-m", "wattfleet_gateway", "serve")
        return Process("gateway", argv, env, f"http://127.0.0.1:{health_port}/readyz", self._url)

    async def remember(self, ownership: HomeOwnership) -> None:
        """Tells the gateway whose a household is, by its own admin command: once, as that takes a few seconds."""
        told = self._folder / "told" / f"{ownership.household}.json"
        news = json.dumps(asdict(ownership))
        if not told.exists() or told.read_text() != news:
            await self._add_household(ownership)
            told.parent.mkdir(exist_ok=True)
            told.write_text(news)

    async def _add_household(self, ownership: HomeOwnership) -> None:
        options = {
            "--id": ownership.household,
            "--name": ownership.title,
            "--owner-issuer": ownership.issuer,
            "--owner-subject": ownership.subject,
            "--sockets": ",".join(ownership.sockets),
        }
        command = (sys.executable, "-m", "wattfleet_gateway", "household", "add")
        arguments = [f"{name}={value}" for name, value in options.items()]
        await output_of([*command, *arguments], {"WATTFLEET_DATABASE_URL": self._database_url()})

    def _database_url(self) -> str:
        return f"sqlite:///{self._folder.resolve() / 'gateway.db'}"


class Page:
    """The page: static files in WATTFLEET_UI_FOLDER, and Reflex's backend on `port`, which needs neither bun nor Node.

    Raises CannotStart when the page was not built.
    """

    def __init__(self, port: int) -> None:
        self.folder = Path(os.environ.get("WATTFLEET_UI_FOLDER", ".cache/ui")).resolve()
        self.backend_url = f"http://127.0.0.1:{port}"
        self._port = port
        if not (self.folder / "index.html").exists():
            raise CannotStart(f"the page is not built in {self.folder}: `make demo` builds it")

    def process(self, page_url: str) -> Process:
        """Reflex's backend. It has a worker of its own to end, hence SIGTERM when the supervisor dies."""
        env = {
            "WATTFLEET_GATEWAY_URL": page_url,
            "WATTFLEET_PUBLIC_URL": page_url,
            "REFLEX_CHECK_LATEST_VERSION": "false",
        }
        options = ("--env", "prod", "--backend-only", "--backend-host", "127.0.0.1", "--backend-port", str(self._port))
        argv = (find_program("reflex"), "run", *options)
        return Process("ui", argv, env, f"{self.backend_url}/ping", self.backend_url, _page_sources(), SIGTERM)


def _page_sources() -> Path:
    """The folder of the page's rxconfig.py, found without importing the page."""
    spec = importlib.util.find_spec("wattfleet_ui")
    if spec is None or spec.origin is None:
        raise CannotStart("wattfleet-ui is not installed: `make demo` installs it")
    return Path(spec.origin).parents[1]
