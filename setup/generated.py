"""Generated files: write them anew, or with `--check` tell whether they are what their sources say.

python setup/generated.py [--check]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from step import ROOT

MEMBER = ROOT / "tenants"
WIRE = Path("wattfleet_tenants/wire")
PROTOS = (WIRE / "readings.proto", WIRE / "bundle.proto")


def generate(folder: Path) -> None:
    """The protobuf code of the wire format, written below this folder."""
    out = (f"--python_out={folder}", f"--pyi_out={folder}")
    command = (sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={MEMBER}", *out, *map(str, PROTOS))
    subprocess.run(command, cwd=MEMBER, check=True)


def outdated() -> list[Path]:
    """The files in the tree that differ from what their sources give now."""
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        made = [path.relative_to(fresh) for path in Path(fresh).rglob("*") if path.is_file()]
        return [MEMBER / name for name in made if _content(MEMBER / name) != _content(fresh / name)]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def main() -> None:
    """Write or check. Exits with 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether they are up to date")
    if not parser.parse_args().check:
        generate(MEMBER)
        return
    for file in (differing := outdated()):
        print(f"{file.relative_to(ROOT)} is not what its source gives: run `make generate`")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
