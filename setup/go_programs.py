"""Programs from the source modules of one go.mod of ours, built once, into one folder of `.cache`.

All of a module's programs are built in one call, and all modules share one cache: most of what they need is the same
few hundred modules, compiled once.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from step import BIN, CACHE, ROOT, StepFailedError, alone, fingerprint, is_made_from, replace_folder, step

GO_CACHE = CACHE / "go-build"
GO_MODULES = CACHE / "go-modules"
_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -modcacherw",
    "GOCACHE": str(GO_CACHE),
    "GOMODCACHE": str(GO_MODULES),
}


def tools(text: str) -> list[str]:
    """The programs that a go.mod names as its tools."""
    block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    return block[1].split() if block else re.findall(r"^tool (\S+)$", text, re.MULTILINE)


def version(text: str, module: str) -> str:
    """The version of `module` that a go.mod names, as `v1.2.3`. Raises StepFailedError when it names none."""
    found = re.search(rf"^(?:require |\t){re.escape(module)} (v\d+\.\d+\.\d+)\b", text, re.MULTILINE)
    if found is None:
        raise StepFailedError(f"go.mod does not name a version of {module}")
    return found[1]


def own_programs(source: Path) -> list[str]:
    """The programs whose source lies beside the go.mod, a folder each."""
    return sorted(f"./{file.parent.name}" for file in source.glob("*/main.go"))


def make(name: str, what: str, source: Path, said: Mapping[str, str]) -> None:
    """Leaves the programs of the module in `source` in `.cache/<name of its folder>`.

    said: variables of the programs that are to hold these texts, such as the version that they call themselves.
    """
    home = CACHE / source.name
    stamp = home / ".made-from"
    text = (source / "go.mod").read_text(encoding="utf-8")
    inputs = (source / "go.mod", source / "go.sum", *sorted(source.glob("*/*.go")))
    made_from = fingerprint(*inputs, *(f"{variable}={value}" for variable, value in said.items()))
    with alone(source.name):
        if is_made_from(stamp, made_from):
            return
        with step(name, what) as running:
            fresh = home.with_name(f"{source.name}.new")
            fresh.mkdir(parents=True, exist_ok=True)
            flags = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in said.items())])
            command = (BIN / "go", "build", "-trimpath", "-ldflags", flags, "-o", f"{fresh}/")
            running.run(*command, *tools(text), *own_programs(source), cwd=source, env=_ENVIRONMENT)
            (fresh / stamp.name).write_text(made_from)
            replace_folder(fresh, home)


def source_of(name: str) -> Path:
    """Where the go.mod of the programs `name` lies."""
    return ROOT / "e2e" / name
