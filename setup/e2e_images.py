"""All images that the stories of `make e2e` run, as archives in `.cache/images`, made without any image registry.

Ours are built from the Dockerfile as for everybody, on our stand-in for its base image. Those of others hold one
program that this machine has anyway, and bear the name by which the charts ask for them.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import base_image
from images import TARGETS, Builder, image
from podman import has_image, settings
from step import BIN, CACHE, ROOT, Step, alone, fingerprint, is_made_from, step

HOME = CACHE / "images"
OURS = HOME / "wattfleet.tar"
OTHERS = HOME / "servers.tar"
# What an image is made from, besides the tenants and its own member.
COMMON = ("Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "setup/uv.lock.txt", "*/pyproject.toml")
FOLDERS = {"ui": "ui_reflex"}
FURTHER = {
    "gateway": (".cache/ui/**/*",),
    "tenants": ("native/hatch_build.py", "native/wattfleet_native/*.[cp]*"),
    "ui": ("ui_reflex/rxconfig.py",),
}
LEFT_OUT = {"__pycache__", "testing"}


@dataclass(frozen=True)
class Server:
    """A program of others and the image that holds it in the cluster."""

    image: str
    program: Path
    entrypoint: str

    def files(self) -> Iterator[tuple[Path, str]]:
        """What its image holds, and where: the program, and the libraries that it is linked to, if any."""
        yield self.program, self.entrypoint
        asked = subprocess.run(["ldd", self.program], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/\S+) \(0x", asked.stdout):
            yield Path(library), library

    def build(self, running: Step, builder: Builder) -> None:
        """Leave its image. Raises StepFailedError."""
        with tempfile.TemporaryDirectory(dir=HOME) as folder:
            for file, place in self.files():
                copy = Path(folder, "root", place.lstrip("/"))
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
            recipe = Path(folder, "Dockerfile")
            recipe.write_text(f'FROM scratch\nCOPY root /\nENTRYPOINT ["{self.entrypoint}"]\n')
            running.run(builder.program, "build", f"--tag={self.image}", folder, env=builder.env)


SERVERS = (
    Server("docker.io/library/nats:2.15.1", ROOT / ".venv" / "bin" / "nats-server", "/nats-server"),
    Server("docker.io/victoriametrics/victoria-metrics:v1.145.0", BIN / "victoria-metrics", "/victoria-metrics-prod"),
    Server("docker.io/victoriametrics/vmauth:v1.145.0", BIN / "vmauth", "/vmauth-prod"),
)


def sources(target: str) -> list[Path]:
    """The files that one of our images is made from, in a stable order."""
    members = (f"{member}/wattfleet_*/**/*" for member in ("tenants", FOLDERS.get(target, target)))
    patterns = [*COMMON, *members, *FURTHER.get(target, ())]
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not LEFT_OUT & set(path.relative_to(ROOT).parts))


def make_ours(builder: Builder) -> None:
    """Leave our images in one archive; only those are built whose sources have changed."""
    made_from = {target: _fingerprint(target) for target in TARGETS}
    changed = [one for one in TARGETS if not (is_made_from(_stamp(one), made_from[one]) and has_image(image(one)))]
    if OURS.exists() and not changed:
        return
    with step("Images of Wattfleet", f"{', '.join(changed)}; first three minutes, then seconds") as running:
        for target in changed:
            builder.build(running, target)
        OURS.unlink(missing_ok=True)
        for target in changed:
            _stamp(target).write_text(made_from[target])
        builder.save(running, [image(target) for target in TARGETS], OURS)
        # The layers of former builds: the more there are, the longer each step looks for its own.
        running.run(builder.program, "image", "prune", "--force", "--filter=until=2h", env=builder.env)


def _fingerprint(target: str) -> str:
    named = (item for path in sources(target) for item in (str(path.relative_to(ROOT)), path))
    return fingerprint(base_image.made_from(), *named)


def _stamp(target: str) -> Path:
    return HOME / f".{target}-made-from"


def make_others(builder: Builder) -> None:
    """Leave the images of the servers that are not ours in one archive."""
    named = (item for server in SERVERS for item in (server.image, server.entrypoint, server.program))
    stamp, made_from = HOME / ".servers-made-from", fingerprint(*named)
    if OTHERS.exists() and is_made_from(stamp, made_from):
        return
    with step("Images of servers", ", ".join(server.program.name for server in SERVERS)) as running:
        for server in SERVERS:
            server.build(running, builder)
        builder.save(running, [server.image for server in SERVERS], OTHERS)
        stamp.write_text(made_from)


def main() -> None:
    """Leave the archives."""
    base_image.main()
    HOME.mkdir(parents=True, exist_ok=True)
    builder = Builder("podman", ("--pull=never",), settings())
    with alone("images"):
        make_others(builder)
        make_ours(builder)


if __name__ == "__main__":
    main()
