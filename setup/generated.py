"""Generated files: write them anew, or with `--check` tell whether they are what their sources say.

python setup/generated.py [--check]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from step import ROOT

TENANTS = Path("tenants")
WIRE = Path("wattfleet_tenants/wire")
PROTOS = (WIRE / "readings.proto", WIRE / "bundle.proto")
DEFINITIONS = Path("charts/wattfleet-crds/templates")


def generate(root: Path) -> None:
    """Everything, below `root` as it lies in the tree."""
    _generate_wire(root / TENANTS)
    _generate_definitions(root / DEFINITIONS)


def _generate_wire(folder: Path) -> None:
    """The protobuf code of the wire format."""
    folder.mkdir(parents=True, exist_ok=True)
    out = (f"--python_out={folder}", f"--pyi_out={folder}")
    command = (sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / TENANTS}", *out, *map(str, PROTOS))
    subprocess.run(command, cwd=ROOT / TENANTS, check=True)


def _generate_definitions(folder: Path) -> None:
    """The custom resources' definitions, as templates of their chart."""
    command = (sys.executable, "-m", "wattfleet_operator.manifests.definitions", str(folder))
    subprocess.run(command, check=True)


def outdated() -> list[Path]:
    """The files in the tree that differ from what their sources give now."""
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        made = [path.relative_to(fresh) for path in Path(fresh).rglob("*") if path.is_file()]
        return [name for name in made if _content(ROOT / name) != _content(fresh / name)]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def main() -> None:
    """Write or check. Exits with 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether they are up to date")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    for file in (differing := outdated()):
        print(f"{file} is not what its source gives: run `make generate`")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
