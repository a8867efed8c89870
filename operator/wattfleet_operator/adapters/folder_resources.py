"""The custom resources of one machine: the resource folder, seen with the operator's eyes.

Files know no finalizers. A resource is deleted by giving it a `deletionTimestamp`; the operator ends what belongs to it
and removes the files. A household whose file was simply taken away is still known by its status, and is ended as well,
but its readings are kept: nobody said that they may go.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import yaml
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import DeletionPolicy, Household, HouseholdSpec, HouseholdStatus, Metadata, Shard
from wattfleet_tenants.shard import ShardId


class FolderResources:
    """The resources in `folder`."""

    def __init__(self, folder: ResourceFolder) -> None:
        self.folder = folder

    def households(self) -> Sequence[Household]:
        """All households, those last whose file was taken away."""
        return [*self.folder.households(), *self._orphans()]

    def shards(self) -> Sequence[Shard]:
        """All shards."""
        return list(self.folder.shards())

    def shard(self, shard: ShardId) -> Shard | None:
        """One shard, or None."""
        return self.folder.shard(shard)

    def place(self, household: Household, shard: ShardId) -> None:
        """Records where a household is carried, before anything is made for it there."""
        self.folder.report(household, household.status.model_copy(update={"shard": shard}))

    def finish(self, resource: Household | Shard) -> None:
        """Lets go of a deleted resource, after everything that belonged to it."""
        self.folder.delete(resource)

    def _orphans(self) -> Iterator[Household]:
        for path in sorted((self.folder.root / "status" / "households").glob("*.yaml")):
            if not (self.folder.root / "households" / path.name).exists():
                yield Household(
                    metadata=Metadata(name=path.stem, deletion_timestamp=datetime.now(UTC)),
                    spec=HouseholdSpec(deletion_policy=DeletionPolicy.RETAIN),
                    status=HouseholdStatus.model_validate(yaml.safe_load(path.read_text())),
                )
