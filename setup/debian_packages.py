"""Debian's packages without root: downloaded and unpacked into a folder of our own, nothing of the system touched.

apt works with a private configuration that is made from the machine's own source of Debian packages, so that a mirror
and its keys are respected. What is unpacked is neither installed nor started.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from debian_sources import Source, debian_sources
from step import Step, StepFailedError

_ONLY_WHAT_IS_NEEDED = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces")]


class PrivateApt:
    """apt for one suite of one source, with all of its state in `folder`, which is made anew."""

    def __init__(self, running: Step, folder: Path, source: Source, suite: str) -> None:
        """Reads the list of packages. Raises StepFailedError when the source does not have the suite."""
        self._running = running
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        self._settings = _configuration(folder, source, suite)
        running.run("apt-get", "-c", self._settings, "update", cwd=folder)

    def needed_by(self, name: str, prefix: str) -> list[str]:
        """`name` and all packages that it needs, directly or not, and whose names begin with `prefix`."""
        command = ["apt-cache", "-c", str(self._settings), "depends", "--recurse", *_ONLY_WHAT_IS_NEEDED, name]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        return [name, *sorted({line for line in said.stdout.splitlines() if line.startswith(prefix)} - {name})]

    def download(self, *names: str) -> list[Path]:
        """The files of these packages. Raises StepFailedError when one of them is not to be had."""
        self._running.run("apt-get", "-c", self._settings, "download", *names, cwd=self._folder)
        return [next(self._folder.glob(f"{name}_*.deb")) for name in names]

    def remove(self) -> None:
        """Delete lists and packages."""
        shutil.rmtree(self._folder)


def unpack(running: Step, packages: list[Path], folder: Path) -> None:
    """What the packages would install, below `folder`."""
    for package in packages:
        running.run("dpkg", "-x", package, folder)


def from_first_source(fetch: Callable[[Source], None], if_there_is_none: str) -> None:
    """`fetch` from the first source for which it succeeds. Raises StepFailedError: the last source's, or this text."""
    sources = debian_sources()
    for source in sources:
        try:
            fetch(source)
        except StepFailedError:
            if source is sources[-1]:
                raise
        else:
            return
    raise StepFailedError(if_there_is_none)


def _configuration(folder: Path, source: Source, suite: str) -> Path:
    for name in ("parts", "state", "cache"):
        (folder / name).mkdir(parents=True)
    (folder / "parts" / "debian.sources").write_text(source.stanza(suite))
    settings = folder / "apt.conf"
    settings.write_text(f"""
        #clear APT::Update::Pre-Invoke;
        #clear APT::Update::Post-Invoke;
        #clear APT::Update::Post-Invoke-Success;
        APT::Sandbox::User "";
        Acquire::Languages "none";
        Dir::Etc::SourceList "/dev/null";
        Dir::Etc::SourceParts "{folder}/parts";
        Dir::Etc::Preferences "/dev/null";
        Dir::Etc::PreferencesParts "/dev/null";
        Dir::State "{folder}/state";
        Dir::State::Status "/dev/null";
        Dir::Cache "{folder}/cache";
    """)
    return settings
