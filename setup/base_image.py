"""The base image of our own images where no registry is at hand: Debian with Python, by debootstrap.

It bears the very name that the Dockerfile's FROM says, in our own storage alone, so that the Dockerfile builds
unchanged. Whoever has a registry never needs it.
"""

import re
import shutil

from debian_sources import debian_sources
from podman import has_image, settings
from podman import main as leave_podman
from step import CACHE, ROOT, Step, StepFailedError, alone, fingerprint, is_made_from, step

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists", "var/cache")
STAMP = CACHE / "done" / "base-image"


def name() -> str:
    """What the Dockerfile builds on."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if found is None:
        raise StepFailedError("the Dockerfile names no BASE")
    return found[1]


def made_from() -> str:
    """What the image is made from, in short."""
    return fingerprint(name(), SUITE, *PACKAGES, *NOT_NEEDED)


def build(running: Step) -> None:
    """Leave the image in our storage. Raises StepFailedError when no source of Debian's packages is set up here."""
    sources = debian_sources()
    if not sources:
        raise StepFailedError("no source of Debian packages is set up on this machine")
    folder = CACHE / "base-image"
    archive = folder.with_suffix(".tar")
    shutil.rmtree(folder, ignore_errors=True)
    keys = [f"--keyring={sources[0].signed_by}"] if sources[0].signed_by else []
    include = f"--include={','.join(PACKAGES)}"
    running.run("debootstrap", "--variant=minbase", include, *keys, SUITE, folder, sources[0].addresses)
    for part in NOT_NEEDED:
        shutil.rmtree(folder / part)
        (folder / part).mkdir()
    (folder / "usr" / "bin" / "python").symlink_to("python3")
    running.run("tar", "-C", folder, "--one-file-system", "-cf", archive, ".")
    running.run("podman", "import", "--quiet", archive, name(), env=settings())
    archive.unlink()
    shutil.rmtree(folder)


def main() -> None:
    """Leave the base image in our storage."""
    leave_podman()
    with alone("base-image"):
        if is_made_from(STAMP, made_from()) and has_image(name()):
            return
        with step("Base image", f"Debian {SUITE} with Python, by debootstrap, one to two minutes") as running:
            build(running)
            STAMP.parent.mkdir(parents=True, exist_ok=True)
            STAMP.write_text(made_from())


if __name__ == "__main__":
    main()
