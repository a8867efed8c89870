"""The definitions that are generated for Kubernetes are structural and say what the models say."""

from collections.abc import Iterator
from typing import Any

import pytest
from wattfleet_operator.manifests.definitions import definitions
from wattfleet_tenants.crd import Household, HouseholdSpec, Shard, ShardSpec

BY_KIND = {one["spec"]["names"]["kind"]: one for one in definitions()}


def schema(kind: str) -> dict[str, Any]:
    (version,) = BY_KIND[kind]["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for part in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        yield from parts(part)


@pytest.mark.parametrize("kind", ["Household", "Shard"])
def test_every_part_has_a_type_and_nothing_that_kubernetes_does_not_know(kind: str) -> None:
    for part in parts(schema(kind)):
        assert isinstance(part["type"], str)
        assert not part.keys() & {"$ref", "$defs", "title", "anyOf", "const", "additionalProperties"}


@pytest.mark.parametrize(("kind", "spec"), [("Household", HouseholdSpec), ("Shard", ShardSpec)])
def test_every_field_is_there_with_its_default_and_explains_itself(
    kind: str, spec: type[HouseholdSpec] | type[ShardSpec]
) -> None:
    fields = schema(kind)["properties"]["spec"]["properties"]
    defaults = spec().model_dump(mode="json", by_alias=True)
    assert fields.keys() == defaults.keys()
    for name, field in fields.items():
        assert field["description"].endswith("."), name
        assert field["default"] == defaults[name]
    assert schema(kind)["properties"]["spec"]["default"] == defaults


def test_names_are_held_against_the_pattern_that_python_holds_them_against() -> None:
    for model in (Household, Shard):
        (rule,) = schema(model.__name__)["x-kubernetes-validations"]
        assert "self.metadata.name.matches(" in rule["rule"]


def test_nothing_in_them_is_syntax_for_helm() -> None:
    assert "{{" not in str(definitions())
