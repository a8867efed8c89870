"""The charts as they were: of the last commit in which they differ from those of today."""

import subprocess
from pathlib import Path

_CHARTS = "charts"


class NoHistory(Exception):
    """The checkout does not know of other charts; the text says why."""


def previous_charts(checkout: Path, folder: Path) -> tuple[str, Path]:
    """That commit, and its charts, which are written into `folder`; raises NoHistory."""
    for commit in _git(checkout, "log", "--format=%h", "--", _CHARTS).decode().split():
        if _git(checkout, "diff", "--name-only", commit, "--", _CHARTS):
            charts = _git(checkout, "archive", commit, _CHARTS)
            subprocess.run(["tar", "-x", "-C", str(folder)], input=charts, check=True)
            return commit, folder / _CHARTS
    raise NoHistory("no commit that is here has other charts than today's (a shallow clone has one commit)")


def _git(checkout: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise NoHistory(f"git has no history of {_CHARTS} here: {done.stderr.decode().strip()}")
    return done.stdout
