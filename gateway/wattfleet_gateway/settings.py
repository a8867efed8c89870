"""What the gateway must be told to run, read once from the environment.

Secrets come as paths of files, so that they show up neither in a process list nor in a dump of the environment. The
public URL is the only truth about our own address: a request's Host header is never believed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError
from wattfleet_tenants.crd import HouseholdSpec

_LEAST_SECRET_BYTES = 32
_HTTP_SCHEMES = ("http", "https")
_CLUSTER = "cluster"


class WrongSettings(Exception):
    """A setting is missing or wrong; the message names it."""


@dataclass(frozen=True, slots=True)
class OidcClient:
    """Who we are to the identity provider. issuer: exactly as its discovery document spells it."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a serving gateway.

    public_url: the origin that browsers see, without a slash at the end. secret: keys of sign-in cookies and of
    Reflex's client tokens are derived from it. edge_credentials: folder of `<shard>.creds`. ui_folder and
    ui_backend_url: None when no page is served. fleet_folder: where resources lie on one machine; None in a cluster.
    region and homes_per_person: where homes go that people add themselves, and up to how many each person may add one.
    """

    public_url: str
    database_url: str = field(repr=False)
    oidc: OidcClient
    signing_key: str = field(repr=False)
    secret: bytes = field(repr=False)
    fleet_folder: Path | None
    edge_credentials: Path
    region: str = HouseholdSpec().region
    homes_per_person: int = 5
    ui_folder: Path | None = None
    ui_backend_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080

    @property
    def over_https(self) -> bool:
        """Whether browsers reach us encrypted, so that cookies may insist on it."""
        return self.public_url.startswith("https://")


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environment`; raises WrongSettings naming the first variable that is missing or wrong."""
    secret = _file(environment, "WATTFLEET_SECRET_FILE").read_bytes()
    if len(secret) < _LEAST_SECRET_BYTES:
        raise WrongSettings(f"WATTFLEET_SECRET_FILE must hold at least {_LEAST_SECRET_BYTES} random bytes")
    ui_folder = environment.get("WATTFLEET_UI_FOLDER")
    return Settings(
        public_url=_origin(environment, "WATTFLEET_PUBLIC_URL"),
        database_url=database_url(environment),
        oidc=OidcClient(
            _text(environment, "WATTFLEET_OIDC_ISSUER"),
            _text(environment, "WATTFLEET_OIDC_CLIENT_ID"),
            _file(environment, "WATTFLEET_OIDC_CLIENT_SECRET_FILE").read_text().strip(),
        ),
        signing_key=_file(environment, "WATTFLEET_SIGNING_KEY").read_text(),
        secret=secret,
        fleet_folder=_fleet_folder(environment),
        edge_credentials=Path(_text(environment, "WATTFLEET_EDGE_CREDS")),
        region=_region(environment.get("WATTFLEET_REGION", HouseholdSpec().region)),
        homes_per_person=_whole_number(environment, "WATTFLEET_HOMES_PER_PERSON", 5),
        ui_folder=_existing_folder(ui_folder) if ui_folder else None,
        ui_backend_url=environment.get("WATTFLEET_UI_BACKEND_URL"),
        host=environment.get("WATTFLEET_HOST", "127.0.0.1"),
        port=_port(environment.get("WATTFLEET_PORT", "8080")),
    )


def database_url(environment: Mapping[str, str] = os.environ) -> str:
    """Where users and households are kept: all that the admin commands need. Raises WrongSettings.

    A URL with a password in it comes from a file.
    """
    if not environment.get("WATTFLEET_DATABASE_URL_FILE"):
        return _text(environment, "WATTFLEET_DATABASE_URL")
    if environment.get("WATTFLEET_DATABASE_URL"):
        raise WrongSettings("set one of WATTFLEET_DATABASE_URL and WATTFLEET_DATABASE_URL_FILE")
    return _file(environment, "WATTFLEET_DATABASE_URL_FILE").read_text().strip()


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise WrongSettings(f"{name} is not set")
    return value


def _file(environment: Mapping[str, str], name: str) -> Path:
    path = Path(_text(environment, name))
    if not path.is_file():
        raise WrongSettings(f"{name}: there is no file {path}")
    return path


def _fleet_folder(environment: Mapping[str, str]) -> Path | None:
    folder, fleet = environment.get("WATTFLEET_FLEET_FOLDER", ""), environment.get("WATTFLEET_FLEET", "")
    if bool(folder) == bool(fleet) or fleet not in ("", _CLUSTER):
        raise WrongSettings("set one of WATTFLEET_FLEET_FOLDER (a folder of resources) and WATTFLEET_FLEET=cluster")
    return Path(folder) if folder else None


def _region(text: str) -> str:
    try:
        return HouseholdSpec(region=text).region
    except ValidationError as error:
        raise WrongSettings("WATTFLEET_REGION must be the name of a region, such as eu-west") from error


def _whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        raise WrongSettings(f"{name} must be a whole number")
    return int(text)


def _existing_folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise WrongSettings(f"WATTFLEET_UI_FOLDER: there is no folder {path}")
    return path


def _origin(environment: Mapping[str, str], name: str) -> str:
    parts = urlsplit(_text(environment, name).rstrip("/"))
    if parts.scheme not in _HTTP_SCHEMES or not parts.netloc or parts.path or parts.query or "@" in parts.netloc:
        raise WrongSettings(f"{name} must be an origin, such as https://home.example")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65_535:
        raise WrongSettings("WATTFLEET_PORT must be a port number")
    return int(text)
