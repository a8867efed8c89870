"""The embedded identity provider: Canaille, in a virtual environment of its own, with people and our client seeded.

Its command line is slow (2 s a call), so a new installation is made with two calls, into a database that gets its name
only when it is whole. People who are added later get one call each. Passwords travel by standard input,
never by a command line that others can see.
"""

import json
import os
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from wattfleet_operator.embedded.commands import output_of
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.programs import find_program
from wattfleet_operator.ports import Vault

CLIENT_ID = "wattfleet-gateway"
CLIENT_SECRET = "gateway/oidc-client.secret"  # noqa: S105 (a name in the vault)

_CONFIGURATION = """\
SECRET_KEY = {secret_key}
PREFERRED_URL_SCHEME = "http"
SERVER_NAME = "{address}"
TRUSTED_HOSTS = ["{address}"]

[CANAILLE]
NAME = "Wattfleet"
DATABASE = "sql"
TIMEZONE = "UTC"
HTMX = false
ENABLE_REGISTRATION = false
ENABLE_PASSWORD_RECOVERY = false
EMAIL_CONFIRMATION = false

[CANAILLE_SQL]
DATABASE_URI = {database}

[CANAILLE_OIDC]
TRUSTED_DOMAINS = [{page_host}]
ACTIVE_JWKS = [{key}]
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in. user: the name they type, and their `sub`. name: given and family name."""

    user: str
    name: str
    password: str = field(repr=False)


class IdentityProvider:
    """Canaille on `port`, its data in `folder`. page_url: the origin of the gateway, which is its only client."""

    def __init__(self, vault: Vault, port: int, folder: Path, page_url: str, host: str = "127.0.0.1") -> None:
        self._address = f"{host}:{port}"
        self.issuer = f"http://{self._address}"
        self._vault = vault
        self._folder = folder
        self._page_url = page_url
        self._program = find_program(os.environ.get("WATTFLEET_CANAILLE", "canaille"))

    async def prepare(self, people: Sequence[Person]) -> Process:
        """The process to run, after `people` and the gateway's client were made known to it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration = await self._configure("canaille")
        if not (self._folder / "canaille.sqlite").exists():
            await self._create(people)
        elif self._client_is_for() != self._page_url:
            await self._call(configuration, ["set", "client", CLIENT_ID, "--quiet", *self._client_options()])
        self._client_record().write_text(self._page_url)
        argv = (self._program, "run", "--bind", self._address, "--workers", "0", "--graceful-timeout", "1")
        env, ready_url = _environment(configuration), f"{self.issuer}/.well-known/openid-configuration"
        return Process("identity", argv, env, ready_url, self.issuer, self._folder)

    async def add(self, person: Person) -> None:
        """`person` can sign in. Somebody who is known already stays as they are."""
        configuration = self._folder / "canaille.toml"
        found = await self._call(configuration, ["get", "user", "--user-name", person.user])
        if not json.loads(found or "[]"):
            await self._call(configuration, ["restore"], {"user": [_user(person)]})

    async def _create(self, people: Sequence[Person]) -> None:
        """A database with everything in it appears at once, or not at all."""
        unfinished = self._folder / "unfinished.sqlite"
        unfinished.unlink(missing_ok=True)
        configuration = await self._configure("unfinished")
        await self._call(configuration, ["install"])
        client = self._client(await self._vault.keep(CLIENT_SECRET, lambda: secrets.token_urlsafe(32)))
        await self._call(configuration, ["restore"], {"user": [_user(p) for p in people], "client": [client]})
        unfinished.replace(self._folder / "canaille.sqlite")

    async def _configure(self, name: str) -> Path:
        path = self._folder / f"{name}.toml"
        path.touch(mode=0o600)
        path.write_text(
            _CONFIGURATION.format(
                secret_key=json.dumps(await self._vault.keep("identity/secret", lambda: secrets.token_urlsafe(32))),
                address=self._address,
                page_host=json.dumps(urlsplit(self._page_url).hostname),
                database=json.dumps(f"sqlite:///{self._folder.resolve() / name}.sqlite"),
                key=_inline_table(json.loads(await self._vault.keep("identity/key.json", _new_key))),
            )
        )
        return path

    def _client(self, secret: str) -> dict[str, Any]:
        own_id = str(uuid.uuid4())
        return {
            "id": own_id,
            "audience": [own_id],  # without it, the id token's `aud` is empty
            "client_id": CLIENT_ID,
            "client_secret": secret,
            "client_name": "Wattfleet",
            "client_uri": self._page_url,
            "redirect_uris": [f"{self._page_url}/auth/callback"],
            "post_logout_redirect_uris": [f"{self._page_url}/"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "id_token_signed_response_alg": "RS256",  # otherwise RS512, which the gateway refuses
            "scope": ["openid", "profile", "email"],
        }

    def _client_options(self) -> list[str]:
        page = self._page_url
        return [
            *("--client-uri", page, "--redirect-uris", f"{page}/auth/callback"),
            *("--post-logout-redirect-uris", f"{page}/"),
        ]

    def _client_record(self) -> Path:
        return self._folder / "client-is-for"

    def _client_is_for(self) -> str | None:
        return self._client_record().read_text() if self._client_record().exists() else None

    async def _call(self, configuration: Path, arguments: Sequence[str], stdin: object = None) -> str:
        text = json.dumps(stdin) if stdin else ""
        return await output_of([self._program, *arguments], _environment(configuration), self._folder, text)


def _environment(configuration: Path) -> dict[str, str]:
    return {"CANAILLE_CONFIG": str(configuration.resolve())}


def _user(person: Person) -> dict[str, Any]:
    given, _, family = person.name.partition(" ")
    return {
        "id": str(uuid.uuid4()),
        "user_name": person.user,
        "password": person.password,
        "given_name": given,
        "family_name": family or given,
        "formatted_name": person.name,
        "display_name": person.name,
        "emails": [f"{person.user}@wattfleet.example"],
    }


def _new_key() -> str:
    """An RSA key as a JSON Web Key: what signs id tokens, the same over restarts."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return json.dumps({**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": secrets.token_hex(8)})


def _inline_table(key: dict[str, Any]) -> str:
    fields = (f"{name} = {json.dumps(value)}" for name, value in key.items() if isinstance(value, str))
    return "{ " + ", ".join(fields) + " }"
