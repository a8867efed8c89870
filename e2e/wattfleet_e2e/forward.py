"""A door from this process's network into another one: a port of 127.0.0.1 here, an address there.

The listening socket is made here and handed to a program that runs there, as its standard input.
"""

import socket
import subprocess
from pathlib import Path

from wattfleet_e2e.machines import Machine

_LOOPBACK = "127.0.0.1"


class Forward:
    """Connections to `address` here arrive at `target` (`host:port`) in the network of `machine`, until `stop`.

    at: the port here; 0: any that is free.
    """

    def __init__(self, program: Path, machine: Machine, target: str, at: int = 0) -> None:
        with socket.create_server((_LOOPBACK, at)) as listener, (machine.folder / "forward.log").open("ab") as log:
            self.port: int = listener.getsockname()[1]
            command = machine.network_command("setpriv", "--pdeathsig=KILL", str(program), target)
            self._process = subprocess.Popen(command, stdin=listener.fileno(), stdout=log, stderr=log)

    @property
    def address(self) -> str:
        """Where it listens, `host:port`."""
        return f"{_LOOPBACK}:{self.port}"

    def stop(self) -> None:
        """Closes it and every connection through it."""
        self._process.kill()
        self._process.wait()
