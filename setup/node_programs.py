"""What a node needs of the machine: containerd, runc, the network plugins and the kernel's tools, Debian's packages.

Only the programs are wanted: whatever starts services when a package is installed is told not to.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from step import found_on_path, step, stop

PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
}
NETWORK_PLUGINS = "containernetworking-plugins"
PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
NO_SERVICES = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """The packages whose programs this machine does not have."""
    programs = [package for program, package in PACKAGES.items() if not found_on_path(program)]
    has_plugins = any((folder / "bridge").exists() for folder in PLUGIN_FOLDERS)
    return programs if has_plugins else [*programs, NETWORK_PLUGINS]


@contextmanager
def no_services(policy: Path = NO_SERVICES) -> Iterator[None]:
    """No package starts a service meanwhile; a machine that has a policy of its own keeps it."""
    try:
        with policy.open("x") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def main() -> None:
    """Leave the programs on PATH."""
    packages = missing()
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        stop("Nodes", f"they need on PATH: sudo apt-get install --no-install-recommends {' '.join(packages)}")
    with step("Nodes", f"Debian's packages {', '.join(packages)}") as running, no_services():
        quietly = {"DEBIAN_FRONTEND": "noninteractive"}
        running.run("apt-get", "update", env=quietly)
        running.run("apt-get", "install", "-y", "--no-install-recommends", *packages, env=quietly)


if __name__ == "__main__":
    main()
