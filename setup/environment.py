"""The Python environment `.venv`: all members, editable, with everything they need, exactly as in uv.lock."""

import sys

from step import BIN, ROOT, alone, fingerprint, is_made_from, step

VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"  # inside, so that it goes when the environment goes
MEMBERS = ("native", "tenants", "operator", "gateway", "ui_reflex", "agent")


def main() -> None:
    """Leave `.venv` in step with uv.lock, the members' pyproject.toml and what is compiled."""
    manifests = [ROOT / "uv.lock", ROOT / "pyproject.toml", *(ROOT / member / "pyproject.toml" for member in MEMBERS)]
    compiled = [ROOT / "native" / "hatch_build.py", *sorted(ROOT.glob("native/wattfleet_native/*.c"))]
    made_from = fingerprint(str(ROOT), *manifests, *compiled)
    is_compiled = any(ROOT.glob("native/wattfleet_native/*.so"))
    with alone("environment"):
        if is_compiled and is_made_from(STAMP, made_from):
            return
        with step("Python environment", "about 100 packages into .venv, and a little C") as running:
            # An environment that is there keeps its Python; a new one gets the one that runs this script.
            python = [] if VENV.exists() else ["--python", sys.executable]
            # What was compiled is not in the installer's cache.
            python += [] if is_compiled else ["--reinstall-package", "wattfleet-native"]
            own = {"UV_PROJECT_ENVIRONMENT": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}
            running.run(BIN / "uv", "sync", "--frozen", "--all-packages", "--all-extras", *python, env=own)
            STAMP.write_text(made_from)


if __name__ == "__main__":
    main()
