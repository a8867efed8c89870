"""Kubernetes' own programs, built once from e2e/controlplane/go.mod: about six minutes on two cores, 480 MB."""

from go_programs import make, source_of, version

SOURCE = source_of("controlplane")


def said_version() -> dict[str, str]:
    """What the programs call themselves; without it the API server says that it is v0.0.0."""
    kubernetes = version((SOURCE / "go.mod").read_text(encoding="utf-8"), "k8s.io/kubernetes")
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    return {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": kubernetes,
    }


def main() -> None:
    """Leaves the programs in .cache/controlplane."""
    make("Kubernetes", "building its programs, which takes some minutes once", SOURCE, said_version())


if __name__ == "__main__":
    main()
