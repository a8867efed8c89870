"""A folder of resources: what stands in for the Kubernetes API on one machine.

Specs and statuses lie in separate files, so that each has one writer: the gateway or an admin writes
`households/<id>.yaml`, the operator answers in `status/households/<id>.yaml`. Files are replaced whole, so that nobody
sees half of one. A file that cannot be read is reported and left alone; it never hides the others.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from wattfleet_tenants.crd import Household, Shard, Status
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

logger = logging.getLogger(__name__)

Resource = TypeVar("Resource", Household, Shard)

_FOLDERS: dict[type[Household] | type[Shard], str] = {Household: "households", Shard: "shards"}


class ResourceFolder:
    """Households and shards below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def household(self, household: HouseholdId) -> Household | None:
        """The household with its status, or None; raises ValueError when its file is no valid Household."""
        return self._read(Household, household)

    def shard(self, shard: ShardId) -> Shard | None:
        """The shard with its status, or None; raises ValueError when its file is no valid Shard."""
        return self._read(Shard, shard)

    def households(self) -> Iterator[Household]:
        """All households that can be read."""
        return self._all(Household)

    def shards(self) -> Iterator[Shard]:
        """All shards that can be read."""
        return self._all(Shard)

    def apply(self, resource: Household | Shard) -> None:
        """Writes what is wished (never the status), as `kubectl apply` would: another wish is another generation."""
        path = self._spec_path(type(resource), resource.metadata.name)
        wished = resource.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)
        wished["metadata"]["generation"] = _generation(path, wished["spec"])
        _replace(path, wished)

    def report(self, resource: Household | Shard, status: Status) -> None:
        """Writes what is so."""
        path = self._status_path(type(resource), resource.metadata.name)
        _replace(path, status.model_dump(mode="json", by_alias=True, exclude_none=True))

    def delete(self, resource: Household | Shard) -> None:
        """Removes spec and status. Deleting what is not there is fine."""
        self._spec_path(type(resource), resource.metadata.name).unlink(missing_ok=True)
        self._status_path(type(resource), resource.metadata.name).unlink(missing_ok=True)

    def _spec_path(self, kind: type[Household] | type[Shard], name: str) -> Path:
        return self.root / _FOLDERS[kind] / f"{name}.yaml"

    def _status_path(self, kind: type[Household] | type[Shard], name: str) -> Path:
        return self.root / "status" / _FOLDERS[kind] / f"{name}.yaml"

    def _read(self, kind: type[Resource], name: str) -> Resource | None:
        path = self._spec_path(kind, name)
        try:
            fields = _load(path)
        except FileNotFoundError:
            return None
        try:
            fields["status"] = _load(self._status_path(kind, name))
        except FileNotFoundError:
            fields.pop("status", None)
        resource = _validated(kind, fields, path)
        if resource.metadata.name != name:
            raise ValueError(f"{path} holds {kind.__name__} {resource.metadata.name}: name the file after it")
        return resource

    def _all(self, kind: type[Resource]) -> Iterator[Resource]:
        for path in sorted((self.root / _FOLDERS[kind]).glob("*.yaml")):
            try:
                resource = self._read(kind, path.stem)
            except ValueError as error:
                logger.error("resource cannot be read", extra={"path": str(path), "error": str(error)})  # noqa: TRY400
                continue
            if resource is not None:
                yield resource


def _generation(path: Path, spec: dict[str, Any]) -> int:
    """The generation of a resource whose wished `spec` is about to be written to `path`."""
    try:
        before = _load(path)
        generation = int(before["metadata"].get("generation", 1))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return 1
    return generation if before.get("spec") == spec else generation + 1


def _validated(kind: type[Resource], fields: dict[str, Any], path: Path) -> Resource:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{path} is not a valid {kind.__name__}: {error}") from error


def _load(path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} does not hold one resource")
    return fields


def _replace(path: Path, fields: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w") as file:
        file.write(yaml.safe_dump(fields, sort_keys=False))
        file.flush()
        os.fsync(file.fileno())  # else a power cut leaves an empty file, and a placement is forgotten
    partial.replace(path)
