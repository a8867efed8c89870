"""The CustomResourceDefinitions, generated from the models in `wattfleet_tenants.crd`.

Kubernetes wants structural OpenAPI schemas: no references, no `null` types, nothing that only describes Python. What a
single field's schema cannot say is a CEL rule beside it, in the model, under `x-kubernetes-validations`.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from wattfleet_tenants.crd import API_VERSION, Household, Shard
from wattfleet_tenants.household import HOUSEHOLD_ID_PATTERN
from wattfleet_tenants.shard import SHARD_ID_PATTERN

Schema = dict[str, Any]

_GROUP, _, _VERSION = API_VERSION.partition("/")
_RULES = "x-kubernetes-validations"
# What only describes Python, and what the API server fills in itself.
_LEFT_OUT = ("title", "$defs")
_ORIGIN = "# Generated from the models in wattfleet_tenants/crd.py by `make generate`.\n"


@dataclass(frozen=True, slots=True)
class Column:
    """What `kubectl get` shows. wide: only with `-o wide`."""

    name: str
    type: str
    path: str
    wide: bool = False

    def as_dict(self) -> Schema:
        """As it stands in the definition."""
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **({"priority": 1} if self.wide else {})}


_READY = (
    Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Age", "date", ".metadata.creationTimestamp"),
)
_HOUSEHOLD_COLUMNS = (
    Column("Shard", "string", ".status.shard"),
    *_READY,
    Column("Region", "string", ".spec.region", wide=True),
    Column("Credential-Expires", "string", ".status.credentialExpires", wide=True),
)
_SHARD_COLUMNS = (
    Column("Region", "string", ".spec.region"),
    Column("Households", "integer", ".status.households"),
    Column("Capacity", "integer", ".spec.capacity"),
    Column("Writers", "integer", ".status.writers"),
    Column("Readers", "integer", ".status.readers"),
    Column("Lag", "integer", ".status.lag"),
    *_READY,
)


def definitions() -> list[Schema]:
    """All of them."""
    return [
        _definition(Household, "households", "hh", HOUSEHOLD_ID_PATTERN, _HOUSEHOLD_COLUMNS),
        _definition(Shard, "shards", None, SHARD_ID_PATTERN, _SHARD_COLUMNS),
    ]


def _definition(
    model: type[BaseModel], plural: str, short_name: str | None, name_pattern: str, columns: Iterable[Column]
) -> Schema:
    kind = model.__name__
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_GROUP}", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": _GROUP,
            # An id is unique in the whole fleet; were there namespaces, the same one could be in two.
            "scope": "Cluster",
            "names": {**names, "categories": ["wattfleet"], **({"shortNames": [short_name]} if short_name else {})},
            "versions": [
                {
                    "name": _VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _resource_schema(model, name_pattern)},
                    # No scale: a shard has a range of writers and one of readers, and a scale is one number.
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.as_dict() for column in columns],
                }
            ],
        },
    }


def _resource_schema(model: type[BaseModel], name_pattern: str) -> Schema:
    schema = structural(model)
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    name_rule = {
        "rule": f"self.metadata.name.matches('{name_pattern}')",
        "message": f"the name is the {model.__name__.lower()}'s id: it must match {name_pattern}",
    }
    return {
        "type": "object",
        "description": schema["description"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        _RULES: [name_rule],
    }


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of `model`, by its outside names."""
    schema = model.model_json_schema(by_alias=True)
    found: Schema = _structural(schema, schema.get("$defs", {}))
    return found


def _structural(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_structural(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = _without_null(_resolved(schema, definitions))
    if "properties" in schema:
        properties = {name: _structural(part, definitions) for name, part in schema["properties"].items()}
        properties |= {name: _filled_in(part) for name, part in properties.items() if name != "status"}
        # Unknown fields are dropped or refused by the API server itself.
        schema = {**schema, "properties": properties}
        schema.pop("additionalProperties", None)
    kept = {
        name: part if name == "properties" else _structural(part, definitions)
        for name, part in schema.items()
        if name not in _LEFT_OUT and not (name == "default" and part is None)
    }
    for limit, bound in (("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum")):
        if limit in kept:
            kept[bound], kept[limit] = kept[limit], True
    if "const" in kept:
        kept["enum"] = [kept.pop("const")]
    return kept


def _filled_in(schema: Schema) -> Schema:
    """An object of which nothing must be given need not be given either. Its default is whole: rules are held against
    it as it stands, before its own fields' defaults are filled in."""
    if schema.get("type") != "object" or "required" in schema:
        return schema
    return {**schema, "default": {name: part["default"] for name, part in schema["properties"].items()}}


def _resolved(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """A reference is what it refers to, with whatever is said beside it."""
    beside = dict(schema)
    reference = beside.pop("$ref", None)
    return schema if reference is None else {**definitions[reference.rpartition("/")[2]], **beside}


def _without_null(schema: Schema) -> Schema:
    """What may be None in Python may be absent in Kubernetes."""
    beside = dict(schema)
    choices = [one for one in beside.pop("anyOf", []) if one.get("type") != "null"]
    return schema if len(choices) != 1 else {**choices[0], **beside}


def write(folder: Path) -> None:
    """One file per definition."""
    folder.mkdir(parents=True, exist_ok=True)
    for definition in definitions():
        text = yaml.safe_dump(definition, sort_keys=False, width=116, allow_unicode=True)
        (folder / f"{definition['spec']['names']['plural']}.yaml").write_text(f"{_ORIGIN}{text}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
