"""Podman with a storage of its own in `.cache/containers`, for the images that the stories of `make e2e` run.

The machine's own images, containers and settings are neither used nor touched. Debian's packages bring it, which takes
root to install, as do the stories themselves.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from node_programs import no_services
from step import CACHE, ROOT, alone, step, stop

HOME = CACHE / "containers"
PROGRAMS = ("podman", "runc", "debootstrap")
# A path of at most 50 characters, which a checkout's may exceed.
_RUN = Path(tempfile.gettempdir()) / f"wattfleet-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"


def settings() -> dict[str, str]:
    """Environment variables that lead podman to our storage; writes the files that they name."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "containers.conf").write_text(f"""
        [containers]
        netns = "host"
        default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
        [engine]
        runtime = "runc"
        cgroup_manager = "cgroupfs"
        events_logger = "file"
        tmp_dir = "{_RUN}/libpod"
    """)
    (HOME / "storage.conf").write_text(f"""
        [storage]
        driver = "overlay"
        graphroot = "{HOME}/storage"
        runroot = "{_RUN}/run"
    """)
    downloads = HOME / "tmp"
    downloads.mkdir(exist_ok=True)
    return {
        "CONTAINERS_CONF": str(HOME / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(HOME / "storage.conf"),
        "TMPDIR": str(downloads),
    }


def has_image(name: str) -> bool:
    """Whether our storage holds an image of this name."""
    asked = subprocess.run(
        ["podman", "image", "exists", name], env={**os.environ, **settings()}, capture_output=True, check=False
    )
    return asked.returncode == 0


def main() -> None:
    """Leave podman, runc and debootstrap on PATH."""
    with alone("podman"):
        if all(map(shutil.which, PROGRAMS)):
            return
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            stop("Podman", "the images for `make e2e` need root and, on PATH, " + ", ".join(PROGRAMS))
        with step("Podman", "Debian's packages, 23 MB, to build images without a registry") as running, no_services():
            quietly = {"DEBIAN_FRONTEND": "noninteractive"}
            running.run("apt-get", "update", env=quietly)
            running.run("apt-get", "install", "-y", "--no-install-recommends", *PROGRAMS, env=quietly)


if __name__ == "__main__":
    main()
