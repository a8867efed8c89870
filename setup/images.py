"""Wattfleet's container images, with the builder that this machine has: docker, podman or buildah.

    python setup/images.py                        all of them
    python setup/images.py gateway ui             only these
    python setup/images.py --save build/images    and as archives for `docker load`

A company's certificates, proxy and package index reach the build, never an image: the certificates as a secret of the
build, the rest by their names in the environment.
"""

import argparse
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from step import CACHE, ROOT, Step, alone, certificates, step, stop

TARGETS = ("tenants", "operator", "gateway", "ui", "agent")
PASSED_ON = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PAGE = CACHE / "ui" / "index.html"


@dataclass(frozen=True)
class Builder:
    """A program that builds images, options of its own for that, and the environment it runs in."""

    program: str
    options: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def works(self) -> bool:
        """Whether it is there and answers; docker's client alone, without an engine, does not."""
        if not shutil.which(self.program):
            return False
        asked = subprocess.run([self.program, "info"], env={**os.environ, **self.env}, capture_output=True, check=False)
        return asked.returncode == 0

    def build(self, running: Step, target: str) -> None:
        """Leave the image of one target of the Dockerfile. Raises StepFailedError."""
        labels = [f"--label=org.opencontainers.image.{name}={value}" for name, value in origin().items()]
        # By name alone: an address may hold a password, and the command is logged.
        passed_on = [f"--build-arg={name}" for name in PASSED_ON if name in os.environ]
        trust = [f"--secret=id=certificates,src={bundle}"] if (bundle := certificates()) else []
        what = (f"--target={target}", f"--tag={image(target)}", *labels, *passed_on, *trust)
        running.run(self.program, "build", *self.options, *what, ROOT, env=self.env)

    def save(self, running: Step, images: Sequence[str], archive: Path) -> None:
        """Leave these images in one archive, layers that they share only once. Raises StepFailedError."""
        several = ("--multi-image-archive",) if self.program == "podman" else ()
        archive.parent.mkdir(parents=True, exist_ok=True)
        fresh = archive.with_name(f".{archive.name}.new")
        fresh.unlink(missing_ok=True)
        running.run(self.program, "save", *several, "--output", fresh, *images, env=self.env)
        fresh.replace(archive)


class Buildah(Builder):
    """Buildah keeps each image in an archive of its own."""

    def save(self, running: Step, images: Sequence[str], archive: Path) -> None:
        """Leave these images beside `archive`, each named after itself. Raises StepFailedError."""
        archive.parent.mkdir(parents=True, exist_ok=True)
        for name in images:
            one = archive.with_name(f"{name.rpartition('/')[2].replace(':', '-')}.tar")
            one.unlink(missing_ok=True)
            running.run(self.program, "push", name, f"docker-archive:{one}:{name}", env=self.env)


BUILDERS = (Builder("docker", env={"DOCKER_BUILDKIT": "1"}), Builder("podman"), Buildah("buildah", ("--layers",)))


def version() -> str:
    """The version of all members, from the root's pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def image(target: str) -> str:
    """The full name of a target's image."""
    return f"docker.io/wattfleet/{target}:{version()}"


def origin() -> dict[str, str]:
    """Which version an image is and, in a checkout, of which commit."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {"version": version()} | ({"revision": asked.stdout.strip()} if asked.returncode == 0 else {})


def main() -> None:
    """Leave the images with the builder, and in a folder if one is named."""
    parser = argparse.ArgumentParser(prog="make images", description="Builds Wattfleet's container images.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"only these of {', '.join(TARGETS)}")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the images there as docker-archives")
    asked = parser.parse_args()
    targets = asked.targets or TARGETS
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"there is no image {', '.join(sorted(unknown))}")
    builder = next((one for one in BUILDERS if one.works()), None)
    if builder is None:
        stop("Images", "docker with its engine, podman or buildah is needed; on Debian: apt-get install podman")
        return
    if "gateway" in targets and not PAGE.exists():
        stop("Images", "the gateway's image holds the page, which is not built yet: make images")
    with alone("images"), step("Images", f"{', '.join(targets)}, with {builder.program}") as running:
        for target in targets:
            builder.build(running, target)
        if asked.save:
            archive = asked.save.resolve() / f"wattfleet-{version()}.tar"
            builder.save(running, [image(target) for target in targets], archive)


if __name__ == "__main__":
    main()
