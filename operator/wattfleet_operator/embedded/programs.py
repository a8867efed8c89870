"""Finds the programs that the platform starts, and says in one line what to do when one is missing."""

import os
import shutil
import sys
from pathlib import Path


class CannotStart(Exception):
    """The platform cannot start here; the message is one line that says what to do."""


def find_program(*names: str) -> str:
    """The path of the first of `names` on PATH or beside this Python; raises CannotStart when there is none."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise CannotStart(f"the program {names[0]} is not there: `make demo` fetches it, or put it on PATH yourself")
