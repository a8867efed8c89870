"""What a cluster needs beside Kubernetes' own programs, built once from e2e/coredns/go.mod: CoreDNS and small ones."""

from go_programs import make, source_of


def main() -> None:
    """Leaves the programs in .cache/coredns."""
    make("CoreDNS", "building it, and the small programs of a cluster", source_of("coredns"), {})


if __name__ == "__main__":
    main()
