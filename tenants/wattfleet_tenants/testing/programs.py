"""Starts programs for tests: on free ports of 127.0.0.1, with a log file, and never outliving the test run."""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from wattfleet_tenants.testing.waiting import wait_until

_PR_SET_PDEATHSIG = 1
_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 10.0


_given_ports: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now; never the same one twice in a test run's process.

    From below the range in which the kernel finds ports for outgoing connections (32768 and above on Linux), so that
    none of those takes it before the program that it is meant for has started.
    """
    while True:
        port = random.randrange(10_000, 32_768)  # noqa: S311 (no secret)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given_ports:
                _given_ports.add(port)
                return port


def find_program(*names: str) -> str:
    """The path of the first of `names` on PATH, beside this Python, or in the checkout's .cache/bin."""
    places = [os.environ.get("PATH", ""), str(Path(sys.executable).parent), str(_checkout() / ".cache" / "bin")]
    for name in names:
        if found := shutil.which(name, path=os.pathsep.join(places)):
            return found
    raise FileNotFoundError(f"{names[0]} is not installed: `make test` fetches it and runs the tests with it")


def _checkout() -> Path:
    return next((p for p in Path(__file__).parents if (p / "uv.lock").exists()), Path.cwd())


class Program:
    """One running program; `start`, `kill` and `start` again to see what survives."""

    def __init__(self, argv: Sequence[str], log: Path, ready: Callable[[], bool]) -> None:
        self.argv = list(argv)
        self.log = log
        self.env: Mapping[str, str] = os.environ
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the present run."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and returns when it is ready; raises RuntimeError with its last words when it ends instead."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdout=log,
                stderr=log,
                env=dict(self.env),
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one system call, in tests only)
            )
        wait_until(self._ready_or_ended, _START_WITHIN_S, f"{Path(self.argv[0]).name} starts (log: {self.log})")

    def stop(self) -> int:
        """Asks it to end (SIGTERM), insists after 10 s; returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: nothing is finished, nothing is saved."""
        return self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        process = self._started()
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(_STOP_WITHIN_S)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.argv[0]} was not started")
        return self._process

    def _ready_or_ended(self) -> bool:
        if not self.running:
            last_words = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.argv[0]} ended while it started:\n{last_words}")
        return self._ready()


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
