"""What objects look like to several versions of Kubernetes, from the document that each of its source modules carries.

A schema is written per version and kind, as kubeconform asks for it, and strict: a field that this version does not
know is refused, where an API server would drop it.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step import BIN, CACHE, Step, StepFailedError, alone, fingerprint, is_made_from, replace_folder, step

# The oldest that our charts allow, one in between, and the one that the stories are told on.
VERSIONS = {
    "v1.31.14": "h1:UtjLfqvXLuSVDdJ4+NpQCIfFkKkLnAAVmxAEMsnkhjk=",
    "v1.34.4": "h1:Yy6R4QB8C9kJPp25GFqEvX5XQwY5qzKeqD0Xx6oAcmk=",
    "v1.36.3": "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=",
}
HOME = CACHE / "kubernetes-schemas"
STAMP = HOME / ".made-from"
_MODULES = CACHE / "go-modules.schemas"
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GOMODCACHE": str(_MODULES)}
_POINTER = "#/definitions/"
# Both are written as numbers as well, which the document does not say.
_NUMBER_OR_TEXT = ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "io.k8s.apimachinery.pkg.api.resource.Quantity")

Definition = dict[str, Any]
Definitions = Mapping[str, Definition]


def definitions(running: Step, kubernetes: str, checksum: str) -> Definitions:
    """Those of that version. Raises StepFailedError when its module is not the one that we know."""
    running.run(BIN / "go", "mod", "download", f"k8s.io/kubernetes@{kubernetes}", cwd=CACHE, env=_ENVIRONMENT)
    archive = _MODULES / "cache" / "download" / "k8s.io" / "kubernetes" / "@v" / f"{kubernetes}.zip"
    if archive.with_suffix(".ziphash").read_text() != checksum:
        raise StepFailedError(f"k8s.io/kubernetes {kubernetes} is not the module that it was")
    with zipfile.ZipFile(archive) as zipped:
        document = json.loads(zipped.read(f"k8s.io/kubernetes@{kubernetes}/api/openapi-spec/swagger.json"))
    found: Definitions = document["definitions"]
    return found


def schemas(found: Definitions) -> Iterator[tuple[str, Definition]]:
    """For each kind a file's name and its content."""
    strict = {name: _strict(name, definition) for name, definition in found.items()}
    for name, definition in found.items():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1:  # what belongs to many groups is never an object of its own
            yield _file_name(**kinds[0]), {"$ref": _POINTER + name, "definitions": _needed(name, strict)}


def _file_name(group: str, version: str, kind: str) -> str:
    return "-".join(filter(None, (kind.lower(), group.split(".", 1)[0], version))) + ".json"


def _strict(name: str, definition: Definition) -> Definition:
    if name in _NUMBER_OR_TEXT:
        return {"type": ["string", "number"]}
    if "properties" in definition:
        return {**definition, "additionalProperties": False}
    return definition


def _needed(name: str, all_of: Definitions) -> Definitions:
    needed: dict[str, Definition] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in needed:
            needed[one] = all_of[one]
            waiting.extend(_references(all_of[one]))
    return needed


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_POINTER)
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def _write(folder: Path, found: Definitions) -> None:
    folder.mkdir(parents=True)
    for name, schema in schemas(found):
        (folder / name).write_text(json.dumps(schema))


def main() -> None:
    """Leaves a folder per version in .cache/kubernetes-schemas."""
    made_from = fingerprint(Path(__file__), *VERSIONS.values())
    with alone("kubernetes-schemas"):
        if is_made_from(STAMP, made_from):
            return
        with step("Kubernetes schemas", f"of {', '.join(VERSIONS)}") as running:
            fresh = HOME.with_name(f"{HOME.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            for kubernetes, checksum in VERSIONS.items():
                _write(fresh / kubernetes, definitions(running, kubernetes, checksum))
            shutil.rmtree(_MODULES)
            (fresh / STAMP.name).write_text(made_from)
            replace_folder(fresh, HOME)


if __name__ == "__main__":
    main()
