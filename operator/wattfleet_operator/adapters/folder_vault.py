"""Secrets as files of one folder, readable by their owner only.

A text is on disk before anybody sees it, and a name that is taken keeps its text: a crash between two outside calls
finds the same key again instead of minting a second one.
"""

import os
from collections.abc import Callable
from pathlib import Path


class FolderVault:
    """A vault in `root`; names are relative paths. Processes of this machine read its files directly."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where the text of `name` lies."""
        return self.root / name

    async def keep(self, name: str, make: Callable[[], str]) -> str:
        """The text kept under `name`; when there is none, `make()` is stored first and then returned."""
        try:
            return self.path(name).read_text()
        except FileNotFoundError:
            text = make()
            self._write(name, text)
            return text

    async def replace(self, name: str, text: str) -> None:
        """Stores `text` under `name`, whole or not at all."""
        self._write(name, text)

    async def forget(self, name: str) -> None:
        """Removes what is kept under `name`, if anything."""
        self.path(name).unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
