"""The custom resources of one machine: the resource folder, seen with the operator's eyes.

Files know no finalizers. A resource is deleted by giving it a `deletionTimestamp`; the operator ends what belongs to it
and removes the files. A household whose file was simply taken away is still known by its status, and is ended as well,
but its readings are kept: nobody said that they may go.

Who is carried where is remembered between two looks at all files: read anew at each birth, the files of a shard of
10,000 households would be read 50,000,000 times while it fills up.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import DeletionPolicy, Household, HouseholdSpec, HouseholdStatus, Metadata, Shard, Status
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.placement import Place
from wattfleet_tenants.shard import ShardId


class FolderResources:
    """The resources in `folder`."""

    def __init__(self, folder: ResourceFolder) -> None:
        self.folder = folder
        self._places: dict[HouseholdId, tuple[ShardId, int | None]] | None = None
        self._phases: dict[ShardId, Counter[int | None]] = {}
        self._files: dict[Path, int] = {}

    def changed(self) -> bool:
        """Whether any of them may have changed since this was last asked."""
        files = {path: path.stat().st_mtime_ns for path in self.folder.root.glob("*/*.yaml")}
        changed, self._files = files != self._files, files
        return changed

    def households(self) -> Sequence[Household]:
        """All households, those last whose file was taken away."""
        all_ = [*self.folder.households(), *self._orphans()]
        self._places, self._phases = {}, {}
        for household in all_:
            if household.status.shard is not None:
                self._remember(household.id, household.status.shard, household.status.send_phase_ms)
        return all_

    def household(self, household: HouseholdId) -> Household | None:
        """One household, or None."""
        return self.folder.household(household)

    def shards(self) -> Sequence[Shard]:
        """All shards."""
        return list(self.folder.shards())

    def shard(self, shard: ShardId) -> Shard | None:
        """One shard, or None."""
        return self.folder.shard(shard)

    def phases(self, shard: ShardId) -> Mapping[int | None, int]:
        """How many households the shard carries, by their send phase in ms (None: they were given none)."""
        if self._places is None:
            self.households()
        return self._phases.get(shard, {})

    async def hold(self, resource: Household | Shard) -> None:
        """Files are removed by the operator alone, but for those that somebody takes away by hand."""

    async def place(self, household: Household, place: Place) -> None:
        """Records where a household is carried and when it sends, before anything is made for it there."""
        found = {"shard": place.shard, "send_phase_ms": place.send_phase_ms}
        self.folder.report(household, household.status.model_copy(update=found))
        self._forget(household.id)
        self._remember(household.id, place.shard, place.send_phase_ms)

    async def report(self, resource: Household | Shard, status: Status) -> None:
        """Writes how the resource stands."""
        self.folder.report(resource, status)

    async def finish(self, resource: Household | Shard) -> None:
        """Lets go of a deleted resource, after everything that belonged to it."""
        self.folder.delete(resource)
        if isinstance(resource, Household):
            self._forget(resource.id)

    def _remember(self, household: HouseholdId, shard: ShardId, phase_ms: int | None) -> None:
        if self._places is not None:
            self._places[household] = (shard, phase_ms)
            self._phases.setdefault(shard, Counter())[phase_ms] += 1

    def _forget(self, household: HouseholdId) -> None:
        place = (self._places or {}).pop(household, None)
        if place is not None:
            shard, phase_ms = place
            self._phases[shard][phase_ms] -= 1

    def _orphans(self) -> Iterator[Household]:
        for path in sorted((self.folder.root / "status" / "households").glob("*.yaml")):
            if not (self.folder.root / "households" / path.name).exists():
                yield Household(
                    metadata=Metadata(name=path.stem, deletion_timestamp=datetime.now(UTC)),
                    spec=HouseholdSpec(deletion_policy=DeletionPolicy.RETAIN),
                    status=HouseholdStatus.model_validate(yaml.safe_load(path.read_text())),
                )
