"""Canaille, the identity provider of the demo and the browser tests, in a virtual environment of its own.

Apart from ours because it brings a whole web stack in versions of its own, and in a cluster another provider takes its
place. `canaille.lock.txt` pins it and all it needs by hash; `make generate` makes that file from `canaille.in`.
"""

import sys
from pathlib import Path

from step import BIN, CACHE, alone, fingerprint, is_made_from, step

HOME = CACHE / "canaille"
PINNED = Path(__file__).with_name("canaille.lock.txt")
STAMP = HOME / ".made-from"
IN_MEMORY = {"CANAILLE_SQL__DATABASE_URI": "sqlite://"}


def main() -> None:
    """Leave `.cache/canaille/bin/canaille`."""
    made_from = fingerprint(str(HOME), PINNED)
    with alone("canaille"):
        if is_made_from(STAMP, made_from):
            return
        with step("Canaille", "the demo's identity provider") as running:
            uv = BIN / "uv"
            running.run(uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, HOME)
            running.run(uv, "pip", "install", "--require-hashes", "--python", HOME / "bin" / "python", "-r", PINNED)
            # Proves that it works, and leaves its modules compiled, also where Python is told not to: without that each
            # of its commands takes 6 s instead of 2.
            running.run(HOME / "bin" / "canaille", "install", cwd=HOME, env=IN_MEMORY | {"PYTHONDONTWRITEBYTECODE": ""})
            STAMP.write_text(made_from)


if __name__ == "__main__":
    main()
