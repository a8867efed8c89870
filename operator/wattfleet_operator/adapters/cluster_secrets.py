"""Secrets of a cluster: the platform's own keys, and the home file of each household.

They lie in one namespace. The operator's leader is the only one who writes them, so what it has read or written it
remembers. What others change in a home's reaches it by a watch, and is put right by the next look; the platform's own
are compared now and then.
"""

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import Any

from lightkube import AsyncClient
from lightkube.core.generic_client import ListAsyncIterable
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType
from wattfleet_tenants.home_file import HomeFile, home_text, parse_home
from wattfleet_tenants.household import HouseholdId, parse_household_id

from wattfleet_operator.adapters.cluster import FIELD_MANAGER, LISTED_AT_ONCE, Gone, asking, roll
from wattfleet_operator.adapters.cluster_resources import Body, ClusterResources
from wattfleet_operator.credential import read_credential
from wattfleet_operator.errors import NotYet
from wattfleet_operator.vault_names import secret_of

logger = logging.getLogger(__name__)

HOUSEHOLD_LABEL = "wattfleet.io/household"
HOME_KEY = "home.json"
_MANAGED = {"app.kubernetes.io/managed-by": FIELD_MANAGER}
_TRIES = 5


class ClusterVault:
    """A vault of Secrets: a name is a path, whose folder is a Secret and whose last part is a key in it."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._known: dict[str, Secret | None] = {}
        self._writing = asyncio.Lock()

    async def keep(self, name: str, make: Callable[[], str]) -> str:
        """The text kept under `name`; when there is none, `make()` is stored first and then returned."""
        secret, key = secret_of(name)
        kept = _text(await self._read(secret), key)
        return kept if kept is not None else await self._change(name, lambda before: before or make())

    async def replace(self, name: str, text: str) -> None:
        """Stores `text` under `name`, whole or not at all."""
        await self._change(name, lambda _: text)

    async def forget(self, name: str) -> None:
        """Removes what is kept under `name`, if anything."""
        secret, key = secret_of(name)
        if _text(await self._read(secret), key) is not None:
            await self._change(name, lambda _: None)

    async def put_back(self) -> None:
        """Puts back what others have deleted or changed. What cannot be had now is tried again the next time."""
        async with self._writing:
            for name in [name for name, kept in self._known.items() if kept is not None]:
                try:
                    await self._put_back(name)
                except NotYet as error:
                    logger.warning("keys could not be compared", extra={"secret": name, "detail": error.message})

    async def _put_back(self, name: str) -> None:
        """What is known stays known until it is stored: nothing else in the world has these keys. Raises NotYet."""
        kept, found = self._known[name], await self._found(name)
        data = (found.data or {}) if found is not None else {}
        wished = {**data, **((kept.data or {}) if kept is not None else {})}
        if wished == data:
            self._known[name] = found
            return
        try:
            with asking():
                self._known[name] = await self._store(name, found, wished)
        except Gone as error:
            raise NotYet("SecretContended", f"Secret {name}: {error}") from error
        logger.warning("keys that somebody deleted or changed are put back", extra={"secret": name})

    async def _read(self, name: str) -> Secret | None:
        if name not in self._known:
            self._known[name] = await self._found(name)
        return self._known[name]

    async def _found(self, name: str) -> Secret | None:
        try:
            with asking():
                return await self._client.get(Secret, name, namespace=self._namespace)
        except Gone:
            return None

    async def _change(self, name: str, text_after: Callable[[str | None], str | None]) -> str:
        """Replaces one text in the very version of the Secret that was read, so that nobody's change is lost."""
        secret_name, key = secret_of(name)
        async with self._writing:
            for _ in range(_TRIES):
                secret = await self._read(secret_name)
                text = text_after(_text(secret, key))
                try:
                    with asking():
                        self._known[secret_name] = await self._write(secret_name, secret, key, text)
                except Gone:
                    await self._put_back(secret_name)
                    continue
                return text or ""
        raise NotYet("SecretContended", f"Secret {secret_name} is changed by somebody else all the time")

    async def _write(self, name: str, secret: Secret | None, key: str, text: str | None) -> Secret | None:
        """The Secret as it is now; one that holds nothing any more is deleted."""
        data = dict(secret.data or {}) if secret is not None else {}
        data.pop(key, None)
        if text is not None:
            data[key] = base64.b64encode(text.encode()).decode()
        if not data:
            if secret is not None:
                await self._client.delete(Secret, name, namespace=self._namespace)
            return None
        return await self._store(name, secret, data)

    async def _store(self, name: str, before: Secret | None, data: dict[str, str]) -> Secret:
        if before is None:
            made = Secret(metadata=ObjectMeta(name=name, namespace=self._namespace, labels=dict(_MANAGED)), data=data)
            return await self._client.create(made, field_manager=FIELD_MANAGER)
        changed = Secret(metadata=before.metadata, data=data, type=before.type)
        return await self._client.replace(changed, field_manager=FIELD_MANAGER)


class ClusterHomes:
    """One Secret per household, owned by it, so that it can never outlive it."""

    def __init__(self, client: AsyncClient, namespace: str, resources: ClusterResources) -> None:
        self._client = client
        self._namespace = namespace
        self._resources = resources
        self._known: dict[HouseholdId, HomeFile] = {}
        self._versions: dict[HouseholdId, int] = {}

    async def load(self) -> None:
        """Learns what is there; the watch tells the rest."""
        with asking():
            async for secret in self._listing():
                self.saw(None, secret.to_dict())

    def saw(self, event: str | None, body: Body) -> HouseholdId | None:
        """What a watch tells of a home's Secret; returns whose home is no longer as it was known, if any's."""
        household, version = _household_of(body), int(body["metadata"]["resourceVersion"])
        if household is None or version <= self._versions.get(household, 0):
            return None
        self._versions[household] = version
        before = self._known.pop(household, None)
        home = None if event == "DELETED" else _home(body, household)
        if home is not None:
            self._known[household] = home
        return household if home != before else None

    async def call_roll(self) -> set[HouseholdId]:
        """Forgets what is there no more; returns whose homes that were. Raises NotYet."""
        names, version = await roll(self._listing())
        missed = {
            household
            for household in self._known
            if secret_name(household) not in names and self._versions[household] <= version
        }
        for household in missed:
            del self._known[household], self._versions[household]
        return missed

    async def read(self, household: HouseholdId) -> HomeFile | None:
        """The home file; None when there is none, or none that can be used."""
        return self._known.get(household)

    async def write(self, home: HomeFile) -> None:
        """Replaces the household's home file, whole or not at all."""
        name = secret_name(home.household)
        manifest: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": {**_MANAGED, HOUSEHOLD_LABEL: home.household},
                "ownerReferences": [dict(self._resources.owner("Household", home.household))],
            },
            "data": {HOME_KEY: base64.b64encode(home_text(home).encode()).decode()},
        }
        with asking():
            written = await self._client.patch(
                Secret,
                name,
                manifest,
                namespace=self._namespace,
                patch_type=PatchType.APPLY,
                field_manager=FIELD_MANAGER,
                force=True,
            )
        self.saw("MODIFIED", written.to_dict())

    async def remove(self, household: HouseholdId) -> None:
        """Removes the household's home file, if there is one."""
        try:
            with asking():
                await self._client.delete(Secret, secret_name(household), namespace=self._namespace)
        except Gone:
            pass
        self._known.pop(household, None)

    def _listing(self) -> ListAsyncIterable[Secret]:
        return self._client.list(
            Secret, namespace=self._namespace, labels={HOUSEHOLD_LABEL: None}, chunk_size=LISTED_AT_ONCE
        )


def secret_name(household: HouseholdId) -> str:
    """What the Secret with a household's home file is called."""
    return f"home-{parse_household_id(household)}"


def _text(secret: Secret | None, key: str) -> str | None:
    kept = (secret.data or {}).get(key) if secret is not None else None
    return base64.b64decode(kept).decode() if kept is not None else None


def _household_of(body: Body) -> HouseholdId | None:
    """Whose home a Secret is. Anybody can put our label on another one; that is nobody's home."""
    try:
        household = parse_household_id(body["metadata"]["labels"][HOUSEHOLD_LABEL])
    except (ValueError, KeyError):
        return None
    return household if body["metadata"]["name"] == secret_name(household) else None


def _home(body: Body, household: HouseholdId) -> HomeFile | None:
    try:
        text = base64.b64decode(body["data"][HOME_KEY], validate=True)
        home = parse_home(text, f"Secret {body['metadata']['name']}")
        read_credential(home.credentials)
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("home file is replaced", extra={"household": household, "error": str(error)})
        return None
    return home if home.household == household else None
