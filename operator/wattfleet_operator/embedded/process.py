"""One process of the platform: what it is, whether it is ready, and where its words go.

Its log is written by the process itself, in append mode, so that no word passes through the supervisor and none is
lost with it. When a log has grown too large its end is kept aside and the file emptied; a line that falls into that
instant may be lost, which a size-bounded log of a machine's own processes can afford.
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any
from urllib.parse import urlsplit

import httpx

LOG_BYTES = 5_000_000
_PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process that shall run. env: added to the supervisor's own environment, without settings meant for others.

    ready_url: answers 2xx when the process can work (`tcp://…`: accepts a connection); None: running is enough.
    death_signal: what the kernel sends it when the supervisor dies; SIGTERM for those that have children to end.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ready_url: str | None = None
    url: str | None = None
    folder: Path | None = None
    death_signal: Signals = SIGKILL


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process as it runs now. created: Unix time in s, which with the pid names it for ever."""

    name: str
    pid: int | None
    created: float | None
    restarts: int
    url: str | None

    def as_json(self) -> dict[str, Any]:
        """As it stands in `processes.json`."""
        return {**asdict(self), "port": urlsplit(self.url).port if self.url else None}


async def trouble_of(process: Process, client: httpx.AsyncClient) -> str | None:
    """Why the process cannot work at this moment, in a few words; None when it can."""
    if process.ready_url is None:
        return None
    address = urlsplit(process.ready_url)
    try:
        if address.scheme == "tcp":
            await _connect(address.hostname or "", address.port or 0)
            return None
        answer = await client.get(process.ready_url, timeout=_PROBE_TIMEOUT_S)
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        return f"does not answer ({type(error).__name__})"
    return None if answer.is_success else f"answers {answer.status_code}: {answer.text[:200]}"


async def _connect(host: str, port: int) -> None:
    async with asyncio.timeout(_PROBE_TIMEOUT_S):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()


def bound_log(log: Path) -> None:
    """Puts a log that has grown beyond 5 MB aside as `<name>.log.1`, replacing the one before, and empties it."""
    try:
        if log.stat().st_size < LOG_BYTES:
            return
    except FileNotFoundError:
        return
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    with log.open("r+") as file:
        file.truncate(0)
