"""A machine of its own, as far as its processes can tell: own network, processes, mounts, host name and control groups.

It is held up by one process, the first of its process namespace. When that one ends, the kernel ends all the others,
and mounts, network and its links go with them. The first process in turn ends with the process that started it, so
that nothing outlives a test run, even one that was killed; only empty control groups stay, for the next run to remove.
"""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from wattfleet_tenants.testing.programs import Program
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_e2e.control_groups import ControlGroups, nobody_clears_up

_GONE_WITHIN_S = 20
_RUN = "/run"
_PRIVATE = (_RUN, "/var/lib", "/var/log")
# The kubelet insists on these and writes them, though they are the whole machine's: it finds what it wants, in a file.
_KERNEL_SETTINGS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}


class Machine:
    """`start` and `stop`. pause: the program that is to be its first process. Everything it keeps is in `folder`."""

    def __init__(self, name: str, pause: Path, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._pause = pause
        self._groups = ControlGroups(name)
        self._up = folder / "up"
        self._first: Path | None = None
        self._holder = Program(["sh", str(folder / "start.sh")], folder / "machine.log", self._up.exists)

    def start(self) -> None:
        """Returns when commands can be run on it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # What is in there tells of processes that ended with the machine when it was up before.
        shutil.rmtree(self._own(_RUN), ignore_errors=True)
        self._up.unlink(missing_ok=True)
        with nobody_clears_up():
            self._groups.create()
            self._start()

    def _start(self) -> None:
        (self.folder / "enter.sh").write_text(self._groups.enter_script() + 'exec "$@"\n')
        (self.folder / "mounts.sh").write_text(self._mounts_script())
        (self.folder / "start.sh").write_text(
            f"exec sh {self.folder / 'enter.sh'} unshare --cgroup --ipc --mount --net --pid --uts"
            f" --fork --kill-child --mount-proc sh {self.folder / 'mounts.sh'}\n"
        )
        self._holder.start()
        holder = self._holder.pid
        self._first = Path("/proc") / Path(f"/proc/{holder}/task/{holder}/children").read_text().strip()

    def stop(self) -> None:
        """Ends every process on it, at once, and returns when they are gone."""
        if self._holder.running:
            self._holder.kill()
        if self._first:
            gone = partial(_has_ended, self._first)
            wait_until(gone, _GONE_WITHIN_S, f"the processes of {self.name} are gone")
        with nobody_clears_up():
            self._groups.remove()

    @property
    def pid(self) -> int:
        """Its first process, as the processes outside see it; raises RuntimeError before it was started."""
        if self._first is None:
            raise RuntimeError(f"{self.name} was not started")
        return int(self._first.name)

    def command(self, *argv: str) -> list[str]:
        """How a program is started on it from outside; the program ends when the process that this starts ends."""
        enter = ("nsenter", f"--target={self.pid}", "--cgroup", "--ipc", "--mount", "--net", "--pid", "--uts", "--")
        return ["sh", str(self.folder / "enter.sh"), *enter, "setpriv", "--pdeathsig=KILL", *argv]

    def network_command(self, *argv: str) -> list[str]:
        """How a program of the outside is started in its network alone."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *argv]

    def run(self, *argv: str) -> str:
        """What a program prints that is run on it to its end; raises CalledProcessError when it fails."""
        return _output(self.command(*argv))

    def run_in_network(self, *argv: str) -> str:
        """What a program of the outside prints that is run in its network."""
        return _output(self.network_command(*argv))

    def _own(self, path: str) -> Path:
        return self.folder / path.removeprefix("/").replace("/", "-")

    def _mounts_script(self) -> str:
        lines = ["set -eu", f"hostname {self.name}", "mount -t sysfs sysfs /sys", *self._groups.mount_commands()]
        for path in _PRIVATE:
            own = self._own(path)
            own.mkdir(exist_ok=True)
            lines.append(f"mount --bind {shlex.quote(str(own))} {path}")
        for setting, value in _KERNEL_SETTINGS.items():
            file = self.folder / setting.replace("/", "-")
            file.write_text(f"{value}\n")
            lines.append(f"mount --bind {shlex.quote(str(file))} /proc/sys/{setting}")
        lines += [
            "mount --make-rshared /",
            "ip link set lo up",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            f"touch {shlex.quote(str(self._up))}",
            f"exec {shlex.quote(str(self._pause))}",
        ]
        return "\n".join([*lines, ""])


def _has_ended(process: Path) -> bool:
    return not process.exists()


def _output(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, argv[-1], done.stdout, done.stderr)
    return done.stdout
