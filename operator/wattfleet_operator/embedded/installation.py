"""One installation is one folder, used by one platform at a time.

A lock that the kernel lets go of with its holder keeps a second platform out. What a crashed platform has left running
is recognised by pid and start time together, never by name, and stopped before anything is started.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from wattfleet_operator.embedded.programs import CannotStart

logger = logging.getLogger(__name__)

_STOP_WITHIN_S = 5.0
_SAME_START_WITHIN_S = 0.05


@contextmanager
def held(home: Path) -> Iterator[None]:
    """`home` is ours alone in the meantime; raises CannotStart when another platform uses it."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)  # whoever made it: people's readings and keys lie in it
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStart(f"{home} is in use by process {lock.read().strip()}: stop that one first") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def stop_leftovers(home: Path) -> list[str]:
    """Stops what a crashed platform left running in `home`; returns the names of those processes."""
    left = dict(_leftovers(home / "processes.json"))
    trees = [process for leader in left.values() for process in (*leader.children(recursive=True), leader)]
    for process in trees:
        process.terminate()
    _, stubborn = psutil.wait_procs(trees, timeout=_STOP_WITHIN_S)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=_STOP_WITHIN_S)
    return list(left)


def _leftovers(listing: Path) -> Iterator[tuple[str, psutil.Process]]:
    try:
        recorded = json.loads(listing.read_text())
        started = [(each["name"], each["pid"], float(each["created"])) for each in recorded if each["pid"]]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return  # Without it nothing can be recognised, and nothing is ended on suspicion.
    for name, pid, created in started:
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < _SAME_START_WITHIN_S:
                yield name, process
        except psutil.NoSuchProcess:
            continue
