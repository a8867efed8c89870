"""`python -m wattfleet_e2e.up`: a cluster of three nodes on this machine until Ctrl-C, for whatever one likes to try.

It tells how to get at it, with kubectl as well as with this suite (E2E_PROVIDER=kubeconfig).
"""

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from wattfleet_e2e import network
from wattfleet_e2e.capabilities import ADDRESS
from wattfleet_e2e.node import IMPORT_IMAGE, Node
from wattfleet_e2e.nodes import Cluster, Programs, why_not
from wattfleet_e2e.provider import LOAD_IMAGE

_CACHE = Path(__file__).resolve().parents[2] / ".cache"
_ENDINGS = (signal.SIGINT, signal.SIGTERM)
_ABOUT = "A Kubernetes of three nodes on this machine, until Ctrl-C. It takes root, and nothing on its command line."


def main() -> int:
    """Returns the exit code once the cluster is gone."""
    argparse.ArgumentParser(prog="python -m wattfleet_e2e.up", description=_ABOUT).parse_args()
    programs = Programs(_CACHE / "controlplane", _CACHE / "coredns")
    if reason := why_not(programs):
        print(reason, file=sys.stderr)
        return 1
    for ending in _ENDINGS:
        # Whoever starts it in the background may have had it ignore the first.
        signal.signal(ending, _end)
    try:
        with tempfile.TemporaryDirectory(prefix="wattfleet-e2e-") as folder, Cluster(programs, Path(folder)) as cluster:
            print(_ways_in(cluster, Path(folder) / "load-image"), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return 0


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Once: an ending that is interrupted leaves half a cluster behind."""
    for ending in _ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    print("Ending all of it, which takes some seconds.", flush=True)
    raise KeyboardInterrupt


def _ways_in(cluster: Cluster, load: Path) -> str:
    load.write_text(_load_script(cluster.nodes))
    load.chmod(0o700)
    here, there = cluster.api.kubeconfig, cluster.api.kubeconfig_there("admin")
    inside = [*cluster.beside.command([]), "env", f"KUBECONFIG={there}", f"{ADDRESS}={network.GATEWAY}"]
    return f"""Three nodes are Ready. Ctrl-C ends all of it.

export KUBECONFIG={here}
export PATH={_CACHE / "controlplane"}:{_CACHE / "helm"}:$PATH
export {LOAD_IMAGE}='{load} {{archive}}'
kubectl get nodes
for archive in {_CACHE / "images"}/*.tar; do {load} $archive; done  # the images that `make e2e-images` builds

A command whose ports pods reach, at {network.GATEWAY}: {shlex.join(inside)} COMMAND"""


def _load_script(nodes: Sequence[Node]) -> str:
    """Brings the archive that it is given to every node."""
    commands = (shlex.join(node.machine.command(*IMPORT_IMAGE)) for node in nodes)
    return "\n".join(["#!/bin/sh", "set -e", *(f'{command} "$1"' for command in commands), ""])


if __name__ == "__main__":
    sys.exit(main())
