"""Go: the machine's own if new enough, else the toolchain that Go itself would fetch, from the same module proxy."""

import os
import platform
import re
import shutil
import subprocess
import urllib.request
import zipfile
from pathlib import Path

from step import BIN, CACHE, Step, StepFailedError, alone, found_on_path, is_made_from, link, replace_folder, step

OLDEST = (1, 26)
VERSION = "1.26.8"
HOME = CACHE / "go"
STAMP = CACHE / "done" / "go"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_TIMEOUT_S = 120


def version(program: Path) -> tuple[int, ...]:
    """What this Go says it is; empty when it does not run."""
    try:
        said = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return tuple(map(int, found.groups())) if found else ()


def proxy() -> str:
    """The module proxy that this machine is set up for; raises StepFailedError when it does not say."""
    chosen = os.environ.get("GOPROXY", "").replace("|", ",").split(",")[0]
    if not chosen.startswith("http"):
        wanted = ".".join(map(str, OLDEST))
        raise StepFailedError(f"install Go {wanted} or newer, or say with GOPROXY where Go's modules come from")
    return chosen.rstrip("/")


def fetch(running: Step) -> None:
    """Leaves Go in HOME."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise StepFailedError(f"there is no Go for {platform.machine()} here: install Go {VERSION} or newer")
    module = f"golang.org/toolchain@v0.0.1-go{VERSION}.linux-{machine}"
    archive, fresh = CACHE / "go.zip", CACHE / "go.new"
    name, _, wanted = module.partition("@")
    with urllib.request.urlopen(f"{proxy()}/{name}/@v/{wanted}.zip", timeout=_TIMEOUT_S) as answer:  # noqa: S310
        archive.parent.mkdir(parents=True, exist_ok=True)
        with archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
    shutil.rmtree(fresh, ignore_errors=True)
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(fresh)
    archive.unlink()
    root = fresh / module
    for program in (*(root / "bin").iterdir(), *(root / "pkg" / "tool").rglob("*")):
        program.chmod(0o755)
    running.run(root / "bin" / "go", "version")
    replace_folder(root, HOME)
    shutil.rmtree(fresh)


def main() -> None:
    """Leaves `go` in .cache/bin."""
    with alone("go"):
        own = found_on_path("go")
        if own is not None and version(own) >= OLDEST:
            link("go", own)
            return
        if is_made_from(STAMP, VERSION) and (BIN / "go").exists():
            return
        with step("Go", f"fetching {VERSION} from the module proxy") as running:
            try:
                fetch(running)
            except OSError as error:
                raise StepFailedError(f"{error}: install Go {'.'.join(map(str, OLDEST))} or newer") from error
            link("go", HOME / "bin" / "go")
            STAMP.parent.mkdir(parents=True, exist_ok=True)
            STAMP.write_text(VERSION)


if __name__ == "__main__":
    main()
