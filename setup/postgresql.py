"""PostgreSQL's server for the tests: the machine's own, else Debian's package of its own suite, unpacked only.

Nothing is installed and no service is started: tests run `initdb` and `postgres` from `.cache/postgresql/bin`. What was
unpacked is started by two small scripts that say where its libraries are; the C library stays the machine's.
"""

import re
import shutil
from pathlib import Path

from debian_packages import PrivateApt, from_first_source, unpack
from debian_sources import Source
from step import (
    CACHE,
    Step,
    StepFailedError,
    alone,
    fingerprint,
    found_on_path,
    is_made_from,
    replace_folder,
    step,
    stop,
)

PROGRAMS = ("initdb", "postgres")
HOME = CACHE / "postgresql"
STAMP = HOME / ".made-from"
WORK = CACHE / "apt-postgresql"
INSTALLED = Path("/usr/lib/postgresql")  # Debian keeps the servers of all versions there, and none on PATH
# The C library belongs to the machine's loader, the others to what is not used: compiling queries, and Perl.
NOT_NEEDED = re.compile(r"libc6|libc-.*|libgcc-.*|libllvm.*|libz3-.*|libperl.*|lib.*-perl")
SERVER = re.compile(r"postgresql-\d+")


def own_server(installed: Path = INSTALLED) -> Path | None:
    """The folder of the machine's own programs, the newest of several; None when it has none."""
    versions = [folder for folder in installed.glob("*/bin") if all((folder / name).exists() for name in PROGRAMS)]
    if versions:
        return max(versions, key=lambda folder: float(folder.parent.name))
    on_path = found_on_path("postgres")
    folder = on_path.resolve().parent if on_path else None
    return folder if folder and all((folder / name).exists() for name in PROGRAMS) else None


def fetch(running: Step, source: Source) -> None:
    """Leave the server of this source's suite in HOME. Raises StepFailedError when this source does not have it."""
    fresh = HOME.with_name("postgresql.new")
    shutil.rmtree(fresh, ignore_errors=True)
    apt = PrivateApt(running, WORK, source, " ".join(source.suites.split()))
    server = next((name for name in apt.needed_by("postgresql", "postgresql-") if SERVER.fullmatch(name)), None)
    if server is None:
        raise StepFailedError("this source has no package of PostgreSQL's server")
    libraries = [name for name in apt.needed_by(server, "lib") if name != server and not NOT_NEEDED.fullmatch(name)]
    unpack(running, apt.download(server, *libraries), fresh)
    apt.remove()
    write_programs(fresh)
    replace_folder(fresh, HOME)


def write_programs(root: Path) -> None:
    """Scripts `bin/initdb` and `bin/postgres` that start what was unpacked to `root`, wherever that is moved to."""
    (found,) = root.glob("usr/lib/postgresql/*/bin")
    libraries = sorted({file.parent for place in ("lib", "usr/lib") for file in (root / place).glob("*/*.so.*")})
    where = ":".join(f"$root/{folder.relative_to(root)}" for folder in libraries)
    (root / "bin").mkdir()
    for name in PROGRAMS:
        script = root / "bin" / name
        start = f'exec "$root/{found.relative_to(root)}/{name}" "$@"'
        script.write_text(f'#!/bin/sh\nroot=$(dirname "$0")/..\nexport LD_LIBRARY_PATH="{where}"\n{start}\n')
        script.chmod(0o755)


def link_programs(folder: Path) -> None:
    """`bin` leads to the machine's own programs."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    (HOME / "bin").symlink_to(folder)


def main() -> None:
    """Leave `.cache/postgresql/bin` with `initdb` and `postgres`."""
    made_from = fingerprint(SERVER.pattern, NOT_NEEDED.pattern)
    with alone("postgresql"):
        if (HOME / "bin" / "postgres").exists() and is_made_from(STAMP, made_from):
            return
        own = own_server()
        if own is None and not (shutil.which("apt-get") and shutil.which("dpkg")):
            stop("PostgreSQL", "the tests need its server, with `postgres` and `initdb` on PATH")
        with step("PostgreSQL", "its server, for the tests") as running:
            if own:
                link_programs(own)
            else:
                from_first_source(
                    lambda source: fetch(running, source),
                    "no source of Debian packages is set up here: install PostgreSQL's server, with `postgres` on PATH",
                )
            for name in PROGRAMS:
                running.run(HOME / "bin" / name, "--version")
            STAMP.write_text(made_from)


if __name__ == "__main__":
    main()
