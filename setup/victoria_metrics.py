"""VictoriaMetrics and its tools: the machine's own if new enough, else Debian's newest package, unpacked only.

Debian's stable suites carry a version that is years old, its newest suite (sid) a current one that runs on them too.
It is fetched with a private configuration of apt that is made from the machine's own source of Debian packages, so
that a mirror and its keys are respected, no root is needed and nothing of the system is touched.
"""

import re
import shutil
import subprocess
from pathlib import Path

from debian_sources import Source, debian_sources
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


def private_apt(folder: Path, source: Source) -> Path:
    """A configuration of apt that reads one source and writes into this folder only. Returns its file."""
    for name in ("parts", "state", "cache"):
        (folder / name).mkdir(parents=True)
    (folder / "parts" / "debian.sources").write_text(source.stanza(SUITE))
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


def unpack(running: Step, source: Source, fresh: Path) -> None:
    """Debian's package from this source, unpacked. Raises StepFailedError when it is not to be had or too old."""
    work = CACHE / "apt"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(fresh, ignore_errors=True)
    settings = private_apt(work, source)
    running.run("apt-get", "-c", settings, "update", cwd=work)
    running.run("apt-get", "-c", settings, "download", "victoria-metrics", cwd=work)
    package = next(work.glob("victoria-metrics_*.deb"))
    if numbers(package.name) < OLDEST:
        raise StepFailedError(f"{package.name} is older than {'.'.join(map(str, OLDEST))}")
    running.run("dpkg", "-x", package, fresh)
    running.run(fresh / "usr" / "bin" / "victoria-metrics", "-version")
    shutil.rmtree(work)


def from_debian(running: Step) -> Path:
    """The folder of programs from the first source that has the package. Raises StepFailedError when none has."""
    fresh = HOME.with_name("victoria-metrics.new")
    sources = debian_sources()
    for source in sources:
        try:
            unpack(running, source, fresh)
        except StepFailedError:
            if source is sources[-1]:
                raise
        else:
            replace_folder(fresh, HOME)
            return HOME / "usr" / "bin"
    raise StepFailedError(
        "no source of Debian packages is set up here: install VictoriaMetrics "
        f"{'.'.join(map(str, OLDEST))} or newer so that `victoria-metrics` is on PATH"
    )


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
