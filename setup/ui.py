"""The page, built into static files that the gateway serves: Reflex compiles, Bun bundles, `.cache/ui` is the result.

Built in a copy, so that nothing appears among the sources and somebody who develops the page at the same time is not
disturbed; the copy stays, because the second build finds its packages there.
"""

import shutil
from pathlib import Path

from npm_registry import npm_registry
from step import BIN, CACHE, ROOT, StepFailedError, alone, certificates, fingerprint, is_made_from, replace_folder, step

SOURCES = ROOT / "ui_reflex"
WORK = CACHE / "ui-build"
HOME = CACHE / "ui"
STAMP = CACHE / "done" / "ui"
NOT_BUILT = shutil.ignore_patterns(".*", "__pycache__", "tests", "external")


def sources() -> list[Path]:
    """The files that the page is made from, in a stable order."""
    files = (path for path in SOURCES.rglob("*") if path.is_file())
    ignored = {".web", ".states", "__pycache__", "tests", "external"}
    return sorted(path for path in files if not ignored & set(path.relative_to(SOURCES).parts))


def copy_sources() -> None:
    """Bring the copy up to date; what Reflex made in it stays."""
    WORK.mkdir(parents=True, exist_ok=True)
    for old in WORK.iterdir():
        if old.name != ".web":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(SOURCES, WORK, ignore=NOT_BUILT, dirs_exist_ok=True)


def environment() -> dict[str, str]:
    """What keeps Reflex and Bun to this project: our Bun, their caches in ours, the machine's registry and trust."""
    own = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "REFLEX_USE_SYSTEM_BUN": "1",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_DIR": str(CACHE / "reflex"),
        "BUN_INSTALL": str(CACHE / "bun-home"),
        "BUN_INSTALL_CACHE_DIR": str(CACHE / "bun-packages"),
        "BUN_RUNTIME_TRANSPILER_CACHE_PATH": str(CACHE / "bun-home"),
        # Named, because Reflex otherwise measures which of two registries answers faster, one of them a foreign mirror.
        "NPM_CONFIG_REGISTRY": npm_registry(),
    }
    return own | ({"NODE_EXTRA_CA_CERTS": bundle} if (bundle := certificates()) else {})


def main() -> None:
    """Leave the static files in `.cache/ui`."""
    made_from = fingerprint(Path(__file__), ROOT / "uv.lock", *(item for file in sources() for item in _named(file)))
    with alone("ui"):
        if (HOME / "index.html").exists() and is_made_from(STAMP, made_from):
            return
        with step("Page", "built with Reflex and Bun, half a minute") as running:
            copy_sources()
            reflex = ROOT / ".venv" / "bin" / "reflex"
            running.run(reflex, "export", "--frontend-only", "--no-zip", cwd=WORK, env=environment())
            built = WORK / ".web" / "build" / "client"
            if not (built / "index.html").exists():
                raise StepFailedError("Reflex wrote no index.html")
            fresh = HOME.with_name("ui.new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(built, fresh)
            replace_folder(fresh, HOME)
            STAMP.parent.mkdir(parents=True, exist_ok=True)
            STAMP.write_text(made_from)


def _named(file: Path) -> tuple[str, Path]:
    return str(file.relative_to(SOURCES)), file


if __name__ == "__main__":
    main()
