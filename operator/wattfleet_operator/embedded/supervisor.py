"""Keeps the platform's processes running: starts, restarts with growing pauses, and stops them in reverse order.

None of the known supervisors fits. `supervisor` is a daemon with a loop, configuration and RPC of its own, without
readiness; `circus` brings ZeroMQ and Tornado for the same; `honcho` does not restart. None of them takes its processes
along when it is killed with SIGKILL, and none can be asked from asyncio whether a process can do its work.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import Process as Child
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import httpx
import psutil  # type: ignore[import-untyped]

from wattfleet_operator.embedded import tether
from wattfleet_operator.embedded.process import Process, ProcessStatus, bound_log, trouble_of
from wattfleet_operator.errors import NotYet
from wattfleet_operator.metrics import RESTARTS

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0
_RUNS_WELL_AFTER_S = 30.0
_STOP_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.1
_BOUND_LOGS_EVERY_S = 5.0
# Our own settings are for one process each, except how much all of them say.
_FOR_ALL = {"WATTFLEET_LOG_LEVEL"}


class Supervisor:
    """Runs processes; `home` gets their logs and `processes.json`. on_change is called when one starts or ends."""

    def __init__(self, home: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self._logs = home / "logs"
        self._listing = home / "processes.json"
        self._running: dict[str, _Running] = {}
        self._changed = on_change
        self._client = httpx.AsyncClient(trust_env=False)
        self._housekeeping: asyncio.Task[None] | None = None
        self._hurry = False

    async def __aenter__(self) -> "Supervisor":
        self._logs.mkdir(parents=True, exist_ok=True)
        self._housekeeping = asyncio.create_task(self._bound_logs())
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            await self.stop(name)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await self._client.aclose()

    def hurry(self) -> None:
        """From now on nothing is given time to stop by itself."""
        self._hurry = True
        for running in self._running.values():
            running.send(signal.SIGKILL)

    async def ensure(self, process: Process) -> None:
        """`process` runs; one of that name that was started otherwise is stopped first."""
        running = self._running.get(process.name)
        if running is not None and running.process == process:
            return
        if running is not None:
            await self.stop(process.name)
        self._running[process.name] = _Running(process, self._logs / f"{process.name}.log", self._on_change)

    async def stop(self, name: str) -> None:
        """The process does not run any more: asked with SIGTERM, killed after 10 s. Unknown names are fine."""
        running = self._running.get(name)
        if running is not None:
            await running.stop(0 if self._hurry else _STOP_WITHIN_S)
            del self._running[name]
            self._on_change()

    async def check(self, name: str) -> None:
        """Raises NotYet, saying why, unless the process can do its work at this moment."""
        running = self._running.get(name)
        if running is None or running.pid is None:
            raise NotYet(_reason(name), f"{name} does not run", retry_in_s=1)
        trouble = await trouble_of(running.process, self._client)
        if trouble is not None:
            raise NotYet(_reason(name), f"{name} {trouble}", retry_in_s=1)

    async def ready(self, name: str, within_s: float) -> None:
        """Returns when the process can do its work; raises NotYet when it cannot within `within_s` seconds."""
        deadline = monotonic() + within_s
        while True:
            try:
                return await self.check(name)
            except NotYet as error:
                if monotonic() > deadline:
                    message = f"{error.message} within {within_s:.0f} s; its log is {self._logs / name}.log"
                    raise NotYet(error.reason, message) from error
            await asyncio.sleep(_LOOK_EVERY_S)

    def process(self, name: str) -> ProcessStatus:
        """How the process of that name runs now; raises KeyError when there is none."""
        return self._running[name].status

    def _on_change(self) -> None:
        partial = self._listing.with_suffix(".partial")
        partial.write_text(json.dumps([r.status.as_json() for r in self._running.values()], indent=2))
        partial.replace(self._listing)
        self._changed()

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_BOUND_LOGS_EVERY_S)
            for name in list(self._running):
                bound_log(self._logs / f"{name}.log")


class _Running:
    """One process, kept running by a task of its own."""

    def __init__(self, process: Process, log: Path, changed: Callable[[], None]) -> None:
        self.process = process
        self._log = log
        self._changed = changed
        self._child: Child | None = None
        self._created: float | None = None
        self._restarts = 0
        self._task = asyncio.create_task(self._keep_running(), name=process.name)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    @property
    def status(self) -> ProcessStatus:
        return ProcessStatus(self.process.name, self.pid, self._created, self._restarts, self.process.url)

    def send(self, how: signal.Signals) -> None:
        """Sends a signal to the process and to whatever it started: it leads a session of its own."""
        if self.pid is not None:
            _end_group(self.pid, how)

    async def stop(self, within_s: float) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._child is None or self._child.returncode is not None:
            return
        if within_s:
            self.send(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._child.wait()
        self.send(signal.SIGKILL)
        await self._child.wait()

    async def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started = monotonic()
            try:
                self._child = await self._start()
            except OSError as error:
                reason = {"process_name": self.process.name, "error": str(error)}
                logger.error("process cannot be started", extra=reason)  # noqa: TRY400 (the error says it all)
            else:
                code = await self._child.wait()
                _end_group(self._child.pid, signal.SIGKILL)  # what it has left behind
                logger.warning("process ended", extra={"process_name": self.process.name, "exit_code": code})
            if monotonic() - started > _RUNS_WELL_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            self._changed()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._restarts += 1
            RESTARTS.labels(self.process.name).inc()

    async def _start(self) -> Child:
        environment = {k: v for k, v in os.environ.items() if k in _FOR_ALL or not k.startswith("WATTFLEET_")}
        tied = (sys.executable, "-IS", tether.__file__, str(os.getpid()), str(int(self.process.death_signal)))
        with self._log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *tied,
                *self.process.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.process.folder,
                env={**environment, "PYTHONUNBUFFERED": "1", **self.process.env},
                start_new_session=True,
            )
        with contextlib.suppress(psutil.NoSuchProcess):
            self._created = psutil.Process(child.pid).create_time()
        self._child = child
        self._changed()
        return child


def _end_group(leader: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, how)


def _reason(name: str) -> str:
    """A stable reason such as WriterNotReady for the process `writer-s1`."""
    return f"{name.partition('-')[0].capitalize()}NotReady"
