"""Bun, with which Reflex builds the page: the binary from its npm package, no Node and no npm needed.

The package is fetched from whichever npm registry this machine is set up for, and must be, byte for byte, the one
named here. With npm on PATH npm fetches it, because it knows about tokens and proxies; else Python does.
"""

import base64
import hashlib
import platform
import shutil
import ssl
import tarfile
import urllib.request
from pathlib import Path

from npm_registry import npm_registry
from step import (
    CACHE,
    Step,
    StepFailedError,
    alone,
    certificates,
    fingerprint,
    is_made_from,
    link,
    replace_folder,
    step,
    stop,
)

VERSION = "1.4.5"  # Reflex 0.10 takes 1.4.4 and newer
# SHA-512, as `npm view @oven/bun-<platform>@<version> dist.integrity` prints it after "sha512-"
SHA512 = {
    "linux-x64": "IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==",
    "linux-x64-baseline": "s8yMwYcFnnrA178gji0gZbkE2WVDej/Ti1x770oPfihxyRxSMNhGhiAQNXV53aDeraZxksdvKV/RAdQBCd0qPA==",
    "linux-x64-musl": "10QoW/YfTgnURaGEaHpJCiXjLI2e5iTtfVDaA5JKcyUzaa1cq6cVUY9/Uq5XkYzvtRjHLRe9Oj/lTDIQcxy8HQ==",
    "linux-aarch64": "4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==",
    "linux-aarch64-musl": "XCNc+WvvMAdNNb+OWTogpy+N9wm62fkVeEVLb6how0RZhW5LPi6c7BlkeVCuWps7XjEl2saFpHFa20/1E+PAHg==",
    "darwin-x64": "qkLPMGHZM9NI6CeHTWwVezzmlo6cC4Ta7yUAjYIWXS366qQcOlcp75t2uZyiuVRBMPS0h9qE0tCcvCHGaFqjJg==",
    "darwin-aarch64": "4MIFXHmctH2EhAxLXm2/qxNtv17dFtLJylvaOCsrgq6KSqHTs6eW5YSrJjRbJxYUJaR901fsN8JfZOa+CsWpWQ==",
}
HOME = CACHE / "bun"
STAMP = HOME / ".made-from"


def platform_name() -> str:
    """This machine in the words of Bun's packages, whether there is one for it or not."""
    machine = {"x86_64": "x64", "amd64": "x64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    name = f"{platform.system().lower()}-{machine}"
    if platform.system() != "Linux":
        return name
    if not platform.libc_ver()[0]:  # it names glibc; musl has no name there
        return f"{name}-musl"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if machine == "x64" else "avx2"
    return name if "avx2" in flags else f"{name}-baseline"


def fetch(running: Step, package: str, folder: Path) -> Path:
    """The package's archive in this folder. Raises StepFailedError when the registry does not give it."""
    if npm := shutil.which("npm"):
        running.run(npm, "pack", f"@oven/{package}@{VERSION}", "--silent", "--pack-destination", folder)
        return next(folder.glob("*.tgz"))
    archive = folder / f"{package}.tgz"
    address = f"{npm_registry()}@oven/{package}/-/{package}-{VERSION}.tgz"
    trust = ssl.create_default_context(cafile=certificates())
    try:
        with urllib.request.urlopen(address, timeout=60, context=trust) as answer, archive.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise StepFailedError(f"@oven/{package} was not to be had from the npm registry: {error}") from error
    return archive


def unpack(archive: Path, sha512: str, folder: Path) -> Path:
    """The checked binary, in this folder. Raises StepFailedError when the archive is not the one named above."""
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != sha512:
        raise StepFailedError(f"{archive.name} is not the archive that setup/bun.py names: refused")
    with tarfile.open(archive) as tar:
        packed = tar.extractfile("package/bin/bun")
        if packed is None:
            raise StepFailedError(f"{archive.name} holds no binary")
        binary = folder / "bun"
        with binary.open("wb") as file:
            shutil.copyfileobj(packed, file)
    binary.chmod(0o755)
    return binary


def main() -> None:
    """Leave `.cache/bin/bun`."""
    name = platform_name()
    if name not in SHA512:
        stop("Bun", f"there is no package for {name}: Bun {VERSION} is needed as .cache/bin/bun")
    made_from = fingerprint(name, SHA512[name])
    with alone("bun"):
        if is_made_from(STAMP, made_from):
            return
        with step("Bun", "builds the page") as running:
            fresh = CACHE / "bun.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            archive = fetch(running, f"bun-{name}", fresh)
            running.run(unpack(archive, SHA512[name], fresh), "--version")
            archive.unlink()
            (fresh / STAMP.name).write_text(made_from)
            replace_folder(fresh, HOME)
            link("bun", HOME / "bun")


if __name__ == "__main__":
    main()
