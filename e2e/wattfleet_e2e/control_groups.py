"""One control group per machine in each of the kernel's controllers (version 1), below the group of this process.

What limits this process limits its machines as well. A machine sees its own group as the root of all.
"""

import errno
import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_MOUNTS = Path("/sys/fs/cgroup")
_PREFIX = "wattfleet-"


class ControlGroups:
    """The control groups of the machine `name`."""

    def __init__(self, name: str) -> None:
        self._folders = {controllers: folder / f"{_PREFIX}{name}" for controllers, folder in _own_groups().items()}

    def create(self) -> None:
        """They exist from here on, with all processors and memory of the machine around."""
        for folder in self._folders.values():
            folder.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (folder / setting).exists():
                    (folder / setting).write_text((folder.parent / setting).read_text())

    def remove(self) -> None:
        """With all that are below; their processes have ended."""
        for folder in self._folders.values():
            _remove(folder)

    def enter_script(self) -> str:
        """Lines of shell that bring the shell into them."""
        return "".join(f"echo 0 > {shlex.quote(str(folder))}/cgroup.procs\n" for folder in self._folders.values())

    def mount_commands(self) -> list[str]:
        """Commands that show a process of a new cgroup namespace its own groups as the roots."""
        commands = [f"mount -t tmpfs cgroup {_MOUNTS}"]
        for controllers in self._folders:
            place = _MOUNTS / controllers.removeprefix("name=")
            options = f"none,{controllers}" if controllers.startswith("name=") else controllers
            commands += [f"mkdir {place}", f"mount -t cgroup -o {options} cgroup {place}"]
        return commands


@contextmanager
def nobody_clears_up() -> Iterator[None]:
    """For a machine that has its groups already and no process in them yet, or no process any more."""
    with _locked(fcntl.LOCK_SH):
        yield


def remove_left_over() -> None:
    """Removes the groups of machines that have ended with nobody to clear up after them.

    Those whose processes are still ending are left to whoever comes next.
    """
    with _locked(fcntl.LOCK_EX):
        for folder in _own_groups().values():
            for group in folder.glob(f"{_PREFIX}*"):
                # Another run's machine that is up has its first process there.
                if not (group / "cgroup.procs").read_text():
                    with _may_be_busy():
                        _remove(group)


@contextmanager
def _may_be_busy() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


@contextmanager
def _locked(how: int) -> Iterator[None]:
    with ExitStack() as stack:
        for folder in _own_groups().values():
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, how)
        yield


def names() -> set[str]:
    """Of the machines that have control groups."""
    groups = (group for folder in _own_groups().values() for group in folder.glob(f"{_PREFIX}*"))
    return {group.name.removeprefix(_PREFIX) for group in groups}


def are_there() -> bool:
    """Whether this machine has control groups in the form that is needed."""
    return bool(_own_groups())


def _own_groups() -> dict[str, Path]:
    """By controllers, the folder of this process's group: `cpu,cpuacct` or `name=systemd`."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    return {
        controllers: _MOUNTS / controllers.removeprefix("name=") / path.removeprefix("/")
        for _, controllers, path in lines
        if controllers and (_MOUNTS / controllers.removeprefix("name=")).is_dir()
    }


def _remove(folder: Path) -> None:
    for child in folder.iterdir() if folder.exists() else ():
        if child.is_dir():
            _remove(child)
    if folder.exists():
        folder.rmdir()
