"""One step of the set-up: a line when it starts, every 10 s and when it is done; a log file for the rest.

Every script of this folder is such a step. It may be run at any time, by hand or by make, and by two at once: a file
lock lets the second one wait, look again and find the work done. Results live in `.cache/`, where nothing is worth
keeping: `make clean` and the next run brings it back. Only the standard library is used, because these scripts come
before everything else.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
BIN = CACHE / "bin"
_LOG_TAIL_LINES = 40
_STILL_AT_IT_EVERY_S = 10


class StepFailedError(Exception):
    """What went wrong and what to do about it, in one line for the person who waits."""


class Step:
    """A running step: its programs write to its log."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def run(self, *command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
        """Run a program, its output to the log. Raises StepFailedError when it cannot be run or fails."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(map(str, command))}\n")
            log.flush()
            environment = {**os.environ, **(env or {})}
            try:
                done = subprocess.run(
                    command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
                )
            except OSError as error:
                raise StepFailedError(f"{command[0]} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise StepFailedError(f"{Path(command[0]).name} ended with {done.returncode}")


@contextmanager
def step(name: str, what: str) -> Iterator[Step]:
    """Tell that a step runs and how long it took; when it fails, tell why, show the end of its log and exit with 1."""
    log = CACHE / "log" / f"{name.lower().replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    started_s = time.monotonic()
    _say(f"  · {name}: {what} …")
    done = threading.Event()
    threading.Thread(target=_still_at_it, args=(name, started_s, done), daemon=True).start()
    try:
        yield Step(log)
    except KeyboardInterrupt:
        _say(f"  ✗ {name}: stopped")
        sys.exit(130)
    except (StepFailedError, OSError) as error:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        _say("\n    ".join([f"  ✗ {name}: {error} (log: {log.relative_to(ROOT)})", *end]))
        sys.exit(1)
    finally:
        done.set()
    _say(f"  ✓ {name}: {time.monotonic() - started_s:.1f} s")


def _still_at_it(name: str, started_s: float, done: threading.Event) -> None:
    while not done.wait(_STILL_AT_IT_EVERY_S):
        _say(f"  · {name}: {time.monotonic() - started_s:.0f} s so far …")


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the step's lock on this checkout: whoever comes second waits here."""
    lock = CACHE / "lock" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"  · {name}: another run is at it, waiting …")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def stop(name: str, reason: str) -> None:
    """Say in one line what is missing and what to do, and exit with 1."""
    _say(f"  ✗ {name}: {reason}")
    sys.exit(1)


def fingerprint(*inputs: Path | str) -> str:
    """A short hash of files' contents and of words: what a result was made from."""
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(item.read_bytes() if isinstance(item, Path) else item.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def is_made_from(stamp: Path, inputs: str) -> bool:
    """Whether a result was made from these very inputs; its stamp is then touched for make."""
    if not stamp.exists() or stamp.read_text() != inputs:
        return False
    stamp.touch()
    return True


def found_on_path(*names: str) -> Path | None:
    """The first of these programs that the machine itself has, our own links left aside."""
    own = {str(BIN), str(ROOT / ".venv" / "bin")}
    folders = [folder for folder in os.get_exec_path() if folder not in own]
    for name in names:
        if found := shutil.which(name, path=os.pathsep.join(folders)):
            return Path(found)
    return None


def certificates() -> str | None:
    """The bundle of authorities that this machine trusts, a company's own included; None leaves it to each program."""
    bundles = (
        os.environ.get("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    )
    return next((bundle for bundle in bundles if bundle and Path(bundle).exists()), None)


def link(name: str, target: Path) -> None:
    """Make `.cache/bin/<name>` lead to a program, in one atomic step."""
    BIN.mkdir(parents=True, exist_ok=True)
    fresh = BIN / f".{name}.{os.getpid()}"
    fresh.symlink_to(os.path.relpath(target, BIN) if target.is_relative_to(CACHE) else target)
    fresh.replace(BIN / name)


def replace_folder(fresh: Path, place: Path) -> None:
    """Put a finished folder in its place. A killed step leaves the old one or none, never half of one."""
    if place.exists():
        old = place.with_name(f"{place.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        shutil.rmtree(old)
    fresh.rename(place)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece: steps run side by side
    sys.stdout.flush()
