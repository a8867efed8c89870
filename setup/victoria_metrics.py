"""VictoriaMetrics and its tools: the machine's own if new enough, else Debian's newest package, unpacked only.

Debian's stable suites carry a version that is years old, its newest suite (sid) a current one that runs on them too.
It needs no root and touches nothing of the system: see `debian_packages`.
"""

import re
import shutil
import subprocess
from pathlib import Path

from debian_packages import PrivateApt, from_first_source, unpack
from debian_sources import Source
from step import (
    BIN,
    CACHE,
    Step,
    StepFailedError,
    alone,
    fingerprint,
    found_on_path,
    is_made_from,
    link,
    replace_folder,
    step,
    stop,
)

OLDEST = (1, 145)  # the one that all figures and limits of this project were measured with
SUITE = "sid"
TOOLS = ("vmagent", "vmalert", "vmalert-tool", "vmauth", "vmbackup", "vmctl", "vmrestore")
HOME = CACHE / "victoria-metrics"
STAMP = CACHE / "done" / "victoria-metrics"


def numbers(text: str) -> tuple[int, ...]:
    """The first dotted version number of a text, as comparable numbers; empty when there is none."""
    found = re.search(r"(?<![\d.])(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(number) for number in found.groups()) if found else ()


def version(program: Path) -> tuple[int, ...]:
    """What this VictoriaMetrics says it is, or what dpkg says where it keeps silent, as Debian's build does."""
    for command in ((str(program), "-version"), ("dpkg-query", "-W", "-f", "${Version}", "victoria-metrics")):
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return ()
        if known := numbers(said.stdout + said.stderr):
            return known
        if program.resolve().parent != Path("/usr/bin"):
            return ()
    return ()


def fetch(running: Step, source: Source) -> None:
    """Leave Debian's package in HOME. Raises StepFailedError when this source does not have it or only an old one."""
    fresh = HOME.with_name("victoria-metrics.new")
    shutil.rmtree(fresh, ignore_errors=True)
    apt = PrivateApt(running, CACHE / "apt", source, SUITE)
    packages = apt.download("victoria-metrics")
    if numbers(packages[0].name) < OLDEST:
        raise StepFailedError(f"{packages[0].name} is older than {'.'.join(map(str, OLDEST))}")
    unpack(running, packages, fresh)
    running.run(fresh / "usr" / "bin" / "victoria-metrics", "-version")
    apt.remove()
    replace_folder(fresh, HOME)


def from_debian(running: Step) -> Path:
    """The folder of programs from the first source that has the package. Raises StepFailedError when none has."""
    from_first_source(
        lambda source: fetch(running, source),
        "no source of Debian packages is set up here: install VictoriaMetrics "
        f"{'.'.join(map(str, OLDEST))} or newer so that `victoria-metrics` is on PATH",
    )
    return HOME / "usr" / "bin"


def link_from(folder: Path, tool: str) -> None:
    """Link a program under its plain name, however it is called there; one that is not there leaves no link."""
    (BIN / tool).unlink(missing_ok=True)
    if program := next((folder / name for name in (tool, f"{tool}-prod") if (folder / name).exists()), None):
        link(tool, program)


def main() -> None:
    """Leave `.cache/bin/victoria-metrics` and, where they come with it, its tools."""
    made_from = fingerprint(SUITE, *map(str, OLDEST))
    with alone("victoria-metrics"):
        if (BIN / "victoria-metrics").exists() and is_made_from(STAMP, made_from):
            return
        own = found_on_path("victoria-metrics", "victoria-metrics-prod")
        is_usable = own is not None and version(own) >= OLDEST
        if not is_usable and not (shutil.which("apt-get") and shutil.which("dpkg")):
            stop(
                "VictoriaMetrics",
                f"{'.'.join(map(str, OLDEST))} or newer is needed on PATH as `victoria-metrics`: with Homebrew "
                "`brew install victoriametrics`, or from its project's releases or container image",
            )
        with step("VictoriaMetrics", "the store of all readings, a package of 57 MB") as running:
            folder = own.parent if own and is_usable else from_debian(running)
            for tool in ("victoria-metrics", *TOOLS):
                link_from(folder, tool)
            STAMP.parent.mkdir(parents=True, exist_ok=True)
            STAMP.write_text(made_from)


if __name__ == "__main__":
    main()
