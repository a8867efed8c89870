"""Settings come from environment variables, read once at a process's start; what is missing is said in one line."""

import os
from pathlib import Path


def required(name: str) -> str:
    """The value of an environment variable; ends the process with one clear line when it is not set."""
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"{name} must be set")
    return value


def whole_number(name: str, default: int) -> int:
    """The value of an environment variable as a number; ends the process with one clear line when it is none."""
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise SystemExit(f"{name} must be a whole number, not {text!r}") from None


def existing_file(name: str) -> Path:
    """The file that an environment variable names; ends the process with one clear line when it is not there."""
    path = Path(required(name))
    if not path.is_file():
        raise SystemExit(f"{name}: there is no file {path}")
    return path
