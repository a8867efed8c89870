"""Ports of this machine: a free one is picked once per name and remembered, so that addresses survive a restart.

They are picked below the range from which the kernel takes ports for outgoing connections, or somebody's connection
might sit on one while its process restarts. A remembered port that somebody else took meanwhile is picked anew.
"""

import json
import random
import socket
from pathlib import Path

_LOWEST, _HIGHEST = 20_000, 32_767  # Linux gives outgoing connections 32768 and above


class FreePorts:
    """The ports of one installation, remembered in `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._remembered = _read(path)
        self._given: set[int] = set()

    def port(self, name: str) -> int:
        """The port of `name`: the same as ever, unless somebody else listens there now."""
        remembered = self._remembered.get(name)
        if remembered in self._given and remembered is not None:
            return remembered
        if remembered is None or not is_free(remembered):
            remembered = self._pick()
            self._remembered[name] = remembered
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(self._remembered, indent=2))
            partial.replace(self._path)
        self._given.add(remembered)
        return remembered

    def _pick(self) -> int:
        taken = set(self._remembered.values())
        candidates = range(_LOWEST, _HIGHEST)
        start = random.randrange(len(candidates))  # noqa: S311 (so that two installations rarely meet)
        for offset in range(len(candidates)):
            port = candidates[(start + offset) % len(candidates)]
            if port not in taken and is_free(port):
                return port
        raise OSError("no free port was found on 127.0.0.1")


def _read(path: Path) -> dict[str, int]:
    """The ports in `path`; none when it is missing or damaged, for then new ones serve as well."""
    try:
        remembered = json.loads(path.read_text())
        return {name: port for name, port in remembered.items() if port in range(_LOWEST, _HIGHEST)}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def is_free(port: int) -> bool:
    """Whether nobody listens on `port` of 127.0.0.1, nor on all addresses."""
    with socket.socket() as probe:
        # A server's closed connections linger for a minute; the servers reuse such a port, so it counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
