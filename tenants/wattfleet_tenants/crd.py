"""The two custom resources, as models: what an admin writes, and what the operator reports.

The same YAML serves the embedded platform and Kubernetes. Names are in camelCase on the outside, as Kubernetes has
them. No personal data: people's names and e-mail addresses stay in the gateway's database.
"""

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.quota import Quota
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.shard import ShardId, parse_shard_id

API_VERSION: Literal["wattfleet.io/v1alpha1"] = "wattfleet.io/v1alpha1"

USER_KEY_PATTERN = r"^U[A-Z2-7]{55}$"
"""A NATS user's public key, which may be shown. As a revocation, `*` would mean everybody."""

RegionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


def _rules(*rules: tuple[str, str]) -> dict[str, Any]:
    """What Kubernetes' API server holds against a value in its own language, CEL; beside each rule what it says."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


_FOR_GOOD = ("self == oldSelf", "it cannot be changed: what is stored stays where it is; make a new one instead")
# Asking what hour it is in an unknown time zone is an error, and so is the rule.
_TIME_ZONE = (
    "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
    "it must be an IANA time zone, such as Europe/Paris",
)


@cache
def _time_zones() -> frozenset[str]:
    """Looked up once: it walks through hundreds of files."""
    return frozenset(available_timezones())


def _known_time_zone(name: str) -> str:
    if name not in _time_zones():
        raise ValueError(f"{name[:40]!r} is not an IANA time zone, such as Europe/Paris")
    return name


TimeZoneName = Annotated[
    str, AfterValidator(_known_time_zone), Field(min_length=1, max_length=64, json_schema_extra=_rules(_TIME_ZONE))
]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid")


class Metadata(_Model):
    """The part of Kubernetes' object metadata that Wattfleet reads. Everything else in it is kept out of our way."""

    model_config = ConfigDict(extra="ignore")

    name: str
    generation: int = 1
    deletion_timestamp: datetime | None = None


class ConditionType(StrEnum):
    """The standard conditions: works, on its way there, cannot go on without help."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Condition(_Model):
    """One statement about a resource, in the standard form; `reason` is a stable word, `message` a sentence."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int
    last_transition_time: datetime


class Status(_Model):
    """What the operator reports of any resource. It reports, it never triggers."""

    # Another version of the operator may have said more.
    model_config = ConfigDict(extra="ignore")

    observed_generation: int = Field(default=0, description="The generation of the wish that this is about.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    def condition(self, type_: ConditionType) -> Condition | None:
        """The condition of that type, if it was ever reported."""
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def ready(self) -> bool:
        """Whether the resource works, as last seen."""
        condition = self.condition(ConditionType.READY)
        return condition is not None and condition.status == "True"


class DeletionPolicy(StrEnum):
    """What happens to a household's readings when it is deleted."""

    ERASE = "Erase"
    RETAIN = "Retain"


class HouseholdSpec(_Model):
    """What is wished for a household."""

    region: RegionName = Field(
        default="local", description="Which region its shard must be of.", json_schema_extra=_rules(_FOR_GOOD)
    )
    time_zone: TimeZoneName = Field(default="Etc/UTC", description="IANA time zone of its days and months.")
    suspended: bool = Field(default=False, description="True cuts its agent off until it is false again.")
    deletion_policy: DeletionPolicy = Field(default=DeletionPolicy.ERASE, description="Erase or Retain its readings.")
    quota: Quota = Field(default_factory=Quota)


class HouseholdStatus(Status):
    """Where a household is carried, when in the minute it sends, and until when its credential is valid."""

    shard: ShardId | None = Field(default=None, description="The shard that carries it; chosen once.")
    send_phase_ms: int | None = Field(
        default=None, ge=0, lt=INTERVAL_MS, description="How many ms after a minute's end its agent sends it."
    )
    credential_expires: datetime | None = Field(
        default=None, description="Until when its agent's credential is valid; it is renewed in good time."
    )
    credential_keys: list[Annotated[str, Field(pattern=USER_KEY_PATTERN)]] = Field(
        default_factory=list,
        max_length=16,
        description="Public keys that its credentials are made out to; refused once it is suspended or deleted.",
    )


class Household(_Model):
    """One home."""

    api_version: Literal["wattfleet.io/v1alpha1"] = API_VERSION
    kind: Literal["Household"] = "Household"
    metadata: Metadata
    spec: HouseholdSpec = Field(default_factory=HouseholdSpec)
    status: HouseholdStatus = Field(default_factory=HouseholdStatus)

    @property
    def id(self) -> HouseholdId:
        """The household's id, which is the resource's name."""
        return HouseholdId(self.metadata.name)

    @model_validator(mode="after")
    def _named_by_the_pattern(self) -> "Household":
        parse_household_id(self.metadata.name)
        return self


class Replicas(_Model):
    """Between how many copies of a process the platform may choose."""

    model_config = ConfigDict(json_schema_extra=_rules(("self.min <= self.max", "min must not be above max")))

    min: int = Field(default=1, ge=1, le=100)
    max: int = Field(default=1, ge=1, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> "Replicas":
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self


class StorageMode(StrEnum):
    """Who keeps a shard's readings: a store of its own, or a tenant of a VictoriaMetrics cluster that is there."""

    DEDICATED = "dedicated"
    TENANT = "tenant"


_NO_SMALLER = ("quantity(self).compareTo(quantity(oldSelf)) >= 0", "a disk can grow, never shrink")


class Storage(_Model):
    """Where a shard's readings are kept."""

    mode: StorageMode = Field(
        default=StorageMode.DEDICATED,
        description="dedicated: a VictoriaMetrics of its own. tenant: an account of the platform's cluster of stores.",
        json_schema_extra=_rules(_FOR_GOOD),
    )
    size: str = Field(
        default="20Gi",
        pattern=r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$",
        description="The disk of a dedicated store; it can be raised where the storage class lets it grow.",
        json_schema_extra=_rules(_NO_SMALLER),
    )


_SHRUNK = (
    "self.retentionYears >= oldSelf.retentionYears || self.allowShorterRetention",
    "a shorter retention deletes readings for good: set allowShorterRetention to true if that is meant",
)


class ShardSpec(_Model):
    """What is wished for a shard."""

    model_config = ConfigDict(json_schema_extra=_rules(_SHRUNK))

    region: RegionName = Field(
        default="local",
        description="Households of this region may be placed here.",
        json_schema_extra=_rules(_FOR_GOOD),
    )
    capacity: int = Field(default=10_000, ge=1, le=30_000, description="How many households it carries at most.")
    accept_new_households: bool = Field(default=True, description="False keeps what it has and takes no more.")
    retention_years: int = Field(default=100, ge=1, le=100, description="How many years readings are kept.")
    allow_shorter_retention: bool = Field(
        default=False, description="True lets retentionYears be lowered, which deletes older readings for good."
    )
    max_power_w: int = Field(
        default=25_000,
        ge=100,
        le=100_000,
        description="No socket draws or feeds in more W than this; readings beyond it are refused.",
    )
    storage: Storage = Field(default_factory=Storage)
    writers: Replicas = Field(default_factory=Replicas)
    readers: Replicas = Field(default_factory=Replicas)


class ShardStatus(Status):
    """What a shard carries, and where its doors are."""

    households: int = Field(default=0, description="Households that it carries.")
    writers: int = Field(default=0, description="Writers that can do their work.")
    readers: int = Field(default=0, description="Readers that can do their work.")
    lag: int = Field(default=0, description="Bundles of readings that wait to be stored, as last seen.")
    edge_urls: list[str] = Field(default_factory=list, description="NATS servers that agents connect to.")
    reader_url: str | None = Field(default=None, description="Where the gateway asks for readings.")
    store_account: int | None = Field(
        default=None, ge=1, le=2**32 - 1, description="Its account in a cluster of stores; chosen once."
    )


class Shard(_Model):
    """One stream, one store, its writers and readers."""

    api_version: Literal["wattfleet.io/v1alpha1"] = API_VERSION
    kind: Literal["Shard"] = "Shard"
    metadata: Metadata
    spec: ShardSpec = Field(default_factory=ShardSpec)
    status: ShardStatus = Field(default_factory=ShardStatus)

    @property
    def id(self) -> ShardId:
        """The shard's id, which is the resource's name."""
        return ShardId(self.metadata.name)

    @model_validator(mode="after")
    def _named_by_the_pattern(self) -> "Shard":
        parse_shard_id(self.metadata.name)
        return self
