"""A process that is kept running, as a supervisor does: whatever ends it, it is started again at once."""

import asyncio
import ctypes
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CRASH_PAUSE_S = 0.2
_END_WITHIN_S = 10.0

_libc = ctypes.CDLL(None)


class KeptProcess:
    """One process with whatever it starts itself, in a group of its own; its words go to the end of `log`.

    own_ends: the exit codes with which it ended by itself.
    """

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.own_ends: list[int] = []
        self._argv = list(argv)
        self._env = dict(env)
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._wanted = False

    def keep(self) -> None:
        """Starts it, and starts it again until `end`."""
        self._wanted = True
        self._keeping = asyncio.create_task(self._keep())

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.returncode is None

    def kill(self) -> None:
        """SIGKILL for it and what it started; it is started again at once."""
        self._signal(signal.SIGKILL)

    async def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends it until `keep` is called again; what a SIGTERM does not end within 10 s, a SIGKILL does."""
        self._wanted = False
        if self._keeping is None:
            return
        self._signal(how)
        await asyncio.wait([self._keeping], timeout=_END_WITHIN_S)
        self._signal(signal.SIGKILL)
        await self._keeping
        self._keeping = None

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, which)

    async def _keep(self) -> None:
        while self._wanted:
            self._process = await self._start()
            if not self._wanted:  # it was ended while it began
                self._signal(signal.SIGKILL)
            code = await self._process.wait()
            if self._wanted and code != -signal.SIGKILL:
                self.own_ends.append(code)
                await asyncio.sleep(_CRASH_PAUSE_S)

    async def _start(self) -> Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
