"""Runs a command of another part to its end: the way to tell it something, without importing it."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from wattfleet_operator.embedded.programs import CannotStart


async def output_of(
    argv: Sequence[str],
    env: Mapping[str, str],
    folder: Path | None = None,
    stdin: str = "",
    within_s: float = 60.0,
) -> str:
    """What the command prints; it never outlives us. Raises CannotStart with its last words when it fails."""
    call = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **env},
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await call.communicate(stdin.encode())
    finally:
        if call.returncode is None:
            call.kill()
            await call.wait()
    if call.returncode:
        last_words = err.decode(errors="replace").strip().splitlines()[-1:]
        raise CannotStart(f"`{_short(argv)}` failed: {' '.join(last_words)[:300]}")
    return out.decode()


def _short(argv: Sequence[str]) -> str:
    """The command's name and its first words, as somebody would type them."""
    return " ".join((Path(argv[0]).name, *argv[1:4]))
