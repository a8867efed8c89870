"""Helm on one cluster, with folders of its own."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class HelmRefuses(Exception):
    """Helm ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    """program: Helm itself. folder: where it keeps what it keeps."""

    program: Path
    kubeconfig: Path
    folder: Path

    def __call__(self, *arguments: str | Path) -> str:
        """What it prints; raises HelmRefuses."""
        places = {f"HELM_{kind}_HOME": str(self.folder / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **places, "KUBECONFIG": str(self.kubeconfig)}
        command = [str(self.program), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HelmRefuses(done.stderr)
        return done.stdout

    def render(self, chart: Path, *arguments: str | Path) -> list[dict[str, Any]]:
        """The objects that a release called `home` would be of."""
        text = self("template", "home", chart, *arguments)
        return [found for found in yaml.safe_load_all(text) if found]
