"""uv, which installs everything that is Python: the machine's own if it is new enough, else a pinned one.

The pinned one comes from the Python package index into a virtual environment of its own, checked by hash.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from step import (
    BIN,
    CACHE,
    ROOT,
    Step,
    StepFailedError,
    alone,
    certificates,
    fingerprint,
    found_on_path,
    is_made_from,
    link,
    step,
)

PINNED = Path(__file__).with_name("uv.lock.txt")
HOME = CACHE / "uv"
STAMP = CACHE / "done" / "uv"


def wanted_version() -> tuple[int, ...]:
    """The oldest uv that the workspace takes, from the root's pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return _numbers(tomllib.load(file)["tool"]["uv"]["required-version"])


def is_new_enough(uv: Path) -> bool:
    """Whether this uv runs and is of a version that the workspace takes."""
    try:
        said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    return _numbers(said) >= wanted_version()


def install_pinned(running: Step) -> Path:
    """The pinned uv in its own virtual environment. Raises StepFailedError when Python has no venv or no network."""
    try:
        running.run(sys.executable, "-m", "venv", "--clear", HOME)
    except StepFailedError as error:
        raise StepFailedError("Python's venv does not work here; on Debian: apt-get install python3-venv") from error
    python = HOME / "bin" / "python"
    trust = {"PIP_CERT": bundle} if (bundle := certificates()) and "PIP_CERT" not in os.environ else {}
    install = ("-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", PINNED)
    running.run(python, *install, env=trust)
    return HOME / "bin" / "uv"


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def main() -> None:
    """Leave `.cache/bin/uv`."""
    made_from = fingerprint(PINNED, ROOT / "pyproject.toml")
    with alone("uv"):
        if is_made_from(STAMP, made_from) and is_new_enough(BIN / "uv"):
            return
        with step("uv", "the installer of everything Python") as running:
            own = found_on_path("uv")
            link("uv", own if own and is_new_enough(own) else install_pinned(running))
            STAMP.parent.mkdir(parents=True, exist_ok=True)
            STAMP.write_text(made_from)


if __name__ == "__main__":
    main()
