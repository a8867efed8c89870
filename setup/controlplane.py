"""Kubernetes' own programs, built once from e2e/controlplane/go.mod: about six minutes on two cores, 480 MB."""

import re
from pathlib import Path

from step import BIN, CACHE, ROOT, Step, StepFailedError, alone, fingerprint, is_made_from, replace_folder, step

SOURCE = ROOT / "e2e" / "controlplane"
HOME = CACHE / "controlplane"
STAMP = HOME / ".made-from"
# Of several hundred modules compiled once; whoever builds another version wants none of it.
GO_CACHE = CACHE / "go-build"
GO_MODULES = CACHE / "go-modules"


def build(running: Step, text: str, folder: Path) -> None:
    """All tools of the module `text` into `folder`, in one call: they share most of what is compiled."""
    version = re.search(r"^(?:require |\t)k8s\.io/kubernetes (v\d+\.\d+\.\d+)\b", text, re.MULTILINE)
    if version is None:
        raise StepFailedError("e2e/controlplane/go.mod does not name a version of Kubernetes")
    major, minor, _ = version[1].removeprefix("v").split(".")
    said = {
        "k8s.io/component-base/version.gitVersion": version[1],
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version[1],
    }
    flags = "-s -w " + " ".join(f"-X {name}={value}" for name, value in said.items())
    tools = re.findall(r"^\t(k8s\.io/kubernetes/cmd/\S+)$", text, re.MULTILINE)
    folder.mkdir(parents=True, exist_ok=True)
    env = {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOCACHE": str(GO_CACHE),
        "GOMODCACHE": str(GO_MODULES),
    }
    running.run(
        BIN / "go", "build", "-trimpath", "-ldflags", flags, "-o", f"{folder}/", *tools, cwd=SOURCE, env=env
    )  # fmt: skip


def main() -> None:
    """Leaves the programs in .cache/controlplane."""
    text = (SOURCE / "go.mod").read_text(encoding="utf-8")
    made_from = fingerprint(SOURCE / "go.mod", SOURCE / "go.sum")
    with alone("controlplane"):
        if is_made_from(STAMP, made_from):
            return
        with step("Kubernetes", "building its programs, which takes some minutes once") as running:
            fresh = HOME.with_name("controlplane.new")
            build(running, text, fresh)
            (fresh / STAMP.name).write_text(made_from)
            replace_folder(fresh, HOME)


if __name__ == "__main__":
    main()
