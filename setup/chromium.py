"""Chromium for the browser tests: the machine's own, else Debian's package, which takes root to install."""

import os
import shutil

from step import found_on_path, link, step, stop

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    """Leave a program `chromium` on PATH or as `.cache/bin/chromium`."""
    if not found_on_path(*NAMES):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            stop("Chromium", "the browser tests need it on PATH: sudo apt-get install --no-install-recommends chromium")
        with step("Chromium", "Debian's package, for the browser tests") as running:
            quietly = {"DEBIAN_FRONTEND": "noninteractive"}
            running.run("apt-get", "update", env=quietly)
            running.run("apt-get", "install", "-y", "--no-install-recommends", "chromium", env=quietly)
    if (found := found_on_path(*NAMES)) and found.name != NAMES[0]:
        link(NAMES[0], found)


if __name__ == "__main__":
    main()
