"""What older definitions have let in: brought up to date where it can be read, in nobody's way where it cannot."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY
from wattfleet_e2e.faulty import WITHIN_S, Faulty
from wattfleet_e2e.kube_api import CommandFailed
from wattfleet_e2e.seeing import seen
from wattfleet_operator.adapters.cluster import FIELD_MANAGER
from wattfleet_tenants.crd import API_VERSION
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.waiting import eventually

DEFINITIONS = Path(__file__).resolve().parents[2] / "charts" / "wattfleet-crds" / "templates"
UNREADABLE, UNPLACED = 60, 30
WITHOUT_DELAY_S = 30
"""As long as the birth of one takes at most on a machine that has other work as well."""
MANY_WITHIN_S = 120

Schema = dict[str, Any]


@contextmanager
def older(faulty: Faulty, *definitions: Schema) -> Iterator[None]:
    """The definitions are these, and those of today afterwards."""
    replace = ("apply", "--server-side", "--force-conflicts", "-f")
    faulty.cluster.kubectl(*replace, "-", given=yaml.safe_dump_all(definitions))
    try:
        yield
    finally:
        faulty.kubectl(*replace, str(DEFINITIONS))


def definition(plural: str) -> tuple[Schema, Schema, Schema]:
    """One of today's, with what it says of a spec and of a status."""
    whole = yaml.safe_load((DEFINITIONS / f"{plural}.yaml").read_text())
    properties = whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return whole, properties["spec"], properties["status"]["properties"]


async def test_what_an_older_operator_wrote_is_brought_up_to_date_and_keeps_its_place_and_its_credential(
    faulty: Faulty,
) -> None:
    async with faulty.operator():
        household = faulty.wish(mint_household_id(), deletionPolicy="Retain")
        await faulty.is_ready(household)
    credentials = faulty.credentials(household)
    with ExitStack() as then:
        then.enter_context(older(faulty, *definitions_of_then()))
        for kind, name, said in (("Household", household, {"shard": faulty.shard}), ("Shard", faulty.shard, {})):
            await seen(lambda k=kind, n=name, s=said: was_told(faulty, k, n, s), WITHIN_S, "older ones are in force")
        faulty.kubectl("annotate", "shard", faulty.shard, "written=then")
        assert "storage" not in found(faulty, "shard", faulty.shard)["spec"]
        async with faulty.operator():
            before = put_off()
            await eventually(lambda: put_off() > before, WITHIN_S, "what it has to say is refused")
            then.close()
            await faulty.is_ready(household)
            await seen(lambda: faulty.reason("shard", faulty.shard) == "Ready", WITHIN_S, "so is its shard")
    after, shard = status(faulty, "household", household), found(faulty, "shard", faulty.shard)
    assert after["shard"] == faulty.shard
    assert "sendPhaseMs" in after
    assert "assignedAt" not in after
    assert shard["status"]["readerUrl"]
    assert shard["spec"]["storage"]["mode"] == "dedicated"
    assert faulty.credentials(household) == credentials


async def test_an_operator_that_is_newer_than_the_definitions_leaves_out_what_they_lack(faulty: Faulty) -> None:
    households, _, of_household = definition("households")
    del of_household["credentialKeys"]
    with ExitStack() as then:
        then.enter_context(older(faulty, households))
        explain = ("explain", "household.status")
        await seen(lambda: "credentialKeys" not in faulty.kubectl(*explain), WITHIN_S, "older ones are in force")
        async with faulty.operator():
            household = faulty.wish(mint_household_id())
            await faulty.is_ready(household)
            assert "credentialKeys" not in status(faulty, "household", household)
            then.close()
            await seen(lambda: "credentialKeys" in faulty.kubectl(*explain), WITHIN_S, "those of today are in force")
            faulty.wish(household, deletionPolicy="Retain")
            await seen(lambda: "credentialKeys" in status(faulty, "household", household), WITHIN_S, "it says all")


def definitions_of_then() -> tuple[Schema, Schema]:
    """Some fields were not there yet, and one was that is gone."""
    households, _, of_household = definition("households")
    shards, of_spec, of_shard = definition("shards")
    del (
        of_household["sendPhaseMs"],
        of_shard["readerUrl"],
        of_spec["properties"]["storage"],
        of_spec["default"]["storage"],
    )
    of_household["assignedAt"] = of_shard["assignedAt"] = {"type": "string"}
    return households, shards


def put_off() -> float:
    labels = {"kind": "Household", "outcome": "not_yet"}
    return REGISTRY.get_sample_value("wattfleet_operator_reconciles_total", labels) or 0.0


def was_told(faulty: Faulty, kind: str, name: str, said: dict[str, str]) -> bool:
    """Whether a status with a field that is no longer known was written whole, by an operator of then."""
    condition = {"type": "Ready", "status": "False", "reason": "Then", "message": "", "observedGeneration": 1}
    conditions = [{**condition, "lastTransitionTime": "2025-01-01T00:00:00Z"}]
    told = {**said, "assignedAt": "2025-01-01T00:00:00Z", "observedGeneration": 1, "conditions": conditions}
    wished = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "status": told}
    by = ("--server-side", "--force-conflicts", "--subresource=status", f"--field-manager={FIELD_MANAGER}")
    try:
        faulty.cluster.kubectl("apply", *by, "-f", "-", given=yaml.safe_dump(wished))
    except CommandFailed as error:
        if "assignedAt" not in str(error):
            raise
        return False
    return status(faulty, kind, name).get("assignedAt") == told["assignedAt"]


def found(faulty: Faulty, kind: str, name: str) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(faulty.kubectl("get", kind, name, "-o", "json"))
    return resource


def status(faulty: Faulty, kind: str, name: str) -> dict[str, Any]:
    said: dict[str, Any] = found(faulty, kind, name)["status"]
    return said


async def test_many_that_cannot_be_read_or_carried_delay_none_of_the_others_and_come_right_when_corrected(
    faulty: Faulty,
) -> None:
    whole, of_spec, _ = definition("households")
    del of_spec["properties"]["timeZone"]["x-kubernetes-validations"]
    strange, unplaced = ([mint_household_id() for _ in range(count)] for count in (UNREADABLE, UNPLACED))
    with older(faulty, whole):
        await seen(lambda: are_let_in(faulty, strange[:1]), WITHIN_S, "the older rules are in force")
        assert are_let_in(faulty, strange)
        faulty.cluster.apply(*(wished(one, region="nowhere") for one in unplaced))
        async with faulty.operator():
            household = faulty.wish(mint_household_id(), deletionPolicy="Retain")
            await faulty.is_ready(household, WITHOUT_DELAY_S)
            for one in unplaced:
                await seen(lambda one=one: faulty.reason("hh", one) == "NoShardHasRoom", WITHIN_S, "it says why")
            assert all("conditions" not in found(faulty, "hh", one).get("status", {}) for one in strange)
            faulty.cluster.apply(*(wished(one, timeZone="Europe/Paris") for one in strange))
            await seen(lambda: set(strange) <= ready(faulty), MANY_WITHIN_S, "those that were corrected are Ready")
            assert not set(unplaced) & ready(faulty)


def wished(household: HouseholdId, **spec: object) -> dict[str, Any]:
    metadata = {"name": household}
    spec = {"deletionPolicy": "Retain", **spec}
    return {"apiVersion": API_VERSION, "kind": "Household", "metadata": metadata, "spec": spec}


def are_let_in(faulty: Faulty, households: list[HouseholdId]) -> bool:
    try:
        faulty.cluster.apply(*(wished(one, timeZone="Middle/Earth") for one in households))
    except CommandFailed as error:
        if "IANA" not in str(error):
            raise
        return False
    return True


def ready(faulty: Faulty) -> set[str]:
    items = json.loads(faulty.kubectl("get", "households", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]
        for item in items
        for one in item.get("status", {}).get("conditions", [])
        if (one["type"], one["status"]) == ("Ready", "True")
    }
