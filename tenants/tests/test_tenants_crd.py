"""The resources: the YAML that kubectl takes, and the folder that stands in for its server."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from wattfleet_tenants.adapters.resource_folder import ResourceFolder
from wattfleet_tenants.crd import Condition, ConditionType, Household, HouseholdStatus, Metadata, Shard
from wattfleet_tenants.shard import ShardId

HOUSEHOLD_YAML = """
apiVersion: wattfleet.io/v1alpha1
kind: Household
metadata:
  name: h0123456789abcdefghij
  labels: {anything: goes}
spec:
  region: local
  timeZone: Europe/Paris
"""


def test_a_household_is_what_kubectl_takes() -> None:
    household = Household.model_validate(yaml.safe_load(HOUSEHOLD_YAML))
    assert household.id == "h0123456789abcdefghij"
    assert household.spec.time_zone == "Europe/Paris"
    assert not household.spec.suspended
    assert not household.status.ready


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("timeZone", "Mars/Olympus", "not an IANA time zone"),
        ("region", "No Region", "pattern"),
        ("deletionPolicy", "Burn", "Erase"),
        ("owner", "alice@example.org", "Extra inputs"),
    ],
)
def test_a_wrong_household_is_refused_with_a_sentence(field: str, value: str, says: str) -> None:
    fields = yaml.safe_load(HOUSEHOLD_YAML)
    fields["spec"][field] = value
    with pytest.raises(ValidationError, match=says):
        Household.model_validate(fields)


@pytest.mark.parametrize("name", ["*", "house", "h0123456789ABCDEFGHIJ"])
def test_a_household_whose_name_is_no_id_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="not a household id"):
        Household(metadata=Metadata(name=name))


def test_a_shard_whose_least_is_above_its_most_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not be above"):
        Shard.model_validate({"metadata": {"name": "s1"}, "spec": {"writers": {"min": 3, "max": 2}}})


def test_spec_and_status_come_together_again(tmp_path: Path) -> None:
    folder = ResourceFolder(tmp_path)
    household = Household.model_validate(yaml.safe_load(HOUSEHOLD_YAML))
    now = datetime.now(UTC)
    ready = Condition(
        type=ConditionType.READY, status="True", reason="Ready", observed_generation=1, last_transition_time=now
    )
    folder.apply(household)
    folder.report(household, HouseholdStatus(shard=ShardId("s1"), conditions=[ready]))
    read = folder.household(household.id)
    assert read is not None
    assert read.status.shard == "s1"
    assert read.status.ready
    assert [h.id for h in folder.households()] == [household.id]
    folder.delete(household)
    assert folder.household(household.id) is None


def test_only_another_wish_is_another_generation(tmp_path: Path) -> None:
    folder = ResourceFolder(tmp_path)
    household = Household.model_validate(yaml.safe_load(HOUSEHOLD_YAML))
    suspended = household.model_copy(update={"spec": household.spec.model_copy(update={"suspended": True})})
    seen = []
    for wish in (household, household, suspended, suspended, household):
        folder.apply(wish)
        read = folder.household(household.id)
        assert read is not None
        seen.append(read.metadata.generation)
    assert seen == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("broken", ["- a\n- list\n", "a: [", "kind: Household\n", HOUSEHOLD_YAML])
def test_one_broken_file_never_hides_the_others(tmp_path: Path, broken: str) -> None:
    folder = ResourceFolder(tmp_path)
    folder.apply(Household.model_validate(yaml.safe_load(HOUSEHOLD_YAML)))
    (tmp_path / "households" / "broken.yaml").write_text(broken)
    assert [h.id for h in folder.households()] == ["h0123456789abcdefghij"]


@pytest.mark.parametrize("phase_ms", [-1, 60_000])
def test_a_home_sends_within_the_minute(phase_ms: int) -> None:
    assert HouseholdStatus(send_phase_ms=59_999).send_phase_ms == 59_999
    with pytest.raises(ValidationError, match=r"less than 60000|greater than or equal to 0"):
        HouseholdStatus(send_phase_ms=phase_ms)
