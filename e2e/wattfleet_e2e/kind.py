"""A cluster by kind (https://kind.sigs.k8s.io): nodes as containers of docker, podman or nerdctl, gone at the end.

KIND_EXPERIMENTAL_PROVIDER says which of the three, as everywhere with kind.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wattfleet_e2e.given import Run

NAME = "wattfleet-e2e"
CONFIG = Path(__file__).resolve().parents[1] / "kind.yaml"
LOAD_IMAGE = f"kind load image-archive {{archive}} --name {NAME}"
_ENGINES = ("docker", "podman", "nerdctl")
_ENGINE = "KIND_EXPERIMENTAL_PROVIDER"
_READY_WITHIN_S = 300
Find = Callable[[str], str | None]


def why_not(environment: Mapping[str, str], find: Find) -> str | None:
    """What is not installed that it takes; None if everything is."""
    if not find("kind"):
        return "kind is not installed: https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
    wished = environment.get(_ENGINE)
    engines = (wished,) if wished else _ENGINES
    if not any(find(engine) for engine in engines):
        because = f", as {_ENGINE} says" if wished else ""
        return f"kind takes {' or '.join(engines)}{because}: not installed"
    return None


@contextmanager
def made(kubeconfig: Path, run: Run) -> Iterator[None]:
    """While it lasts `kubeconfig` leads to it. One that a run left which was killed goes first."""
    delete = ["kind", "delete", "cluster", "--name", NAME, "--kubeconfig", str(kubeconfig)]
    run(delete)
    try:
        create = ["kind", "create", "cluster", "--name", NAME, "--config", str(CONFIG)]
        run([*create, "--kubeconfig", str(kubeconfig), f"--wait={_READY_WITHIN_S}s"])
        yield
    finally:
        run(delete)
