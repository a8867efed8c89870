"""Helm and kubeconform, built once from e2e/helm/go.mod: about four minutes on two cores, 76 MB."""

from go_programs import make, source_of, version

SOURCE = source_of("helm")


def main() -> None:
    """Leaves the programs in .cache/helm."""
    helm = version((SOURCE / "go.mod").read_text(encoding="utf-8"), "helm.sh/helm/v4")
    said = {"helm.sh/helm/v4/internal/version.version": helm}
    make("Helm", "building it, which takes some minutes once", SOURCE, said)


if __name__ == "__main__":
    main()
