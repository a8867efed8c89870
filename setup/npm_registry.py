"""Which npm registry this machine is set up for: asked of npm where there is one, else read as npm reads it."""

import os
import shutil
import subprocess
from pathlib import Path

DEFAULT_REGISTRY = "https://registry.npmjs.org/"


def npm_registry() -> str:
    """The registry's address, with a slash at its end."""
    return (_asked_of_npm() or _read_from_settings() or DEFAULT_REGISTRY).rstrip("/") + "/"


def _asked_of_npm() -> str | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    answer = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _read_from_settings() -> str | None:
    variables = {name.lower(): value for name, value in os.environ.items()}
    npmrc = Path(variables.get("npm_config_userconfig", "~/.npmrc")).expanduser()
    lines = npmrc.read_text(encoding="utf-8").splitlines() if npmrc.exists() else []
    settings = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    return variables.get("npm_config_registry") or settings.get("registry")
