"""Compiles the C files of `wattfleet_native` into the one library beside them, whenever the package is built."""

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Of a processor only what all of its kind have: an image runs on other machines than the one that built it.
_FLAGS = (
    "-std=gnu11", "-O3", "-mcpu=baseline", "-shared", "-fPIC", "-s", "-Wall", "-Wextra", "-Wconversion", "-Werror",
)  # fmt: skip


class CompileHook(BuildHookInterface[Any]):
    """Makes the wheel one for this platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Raises CalledProcessError when the compiler refuses."""
        package = Path(self.root) / "wattfleet_native"
        library = runpy.run_path(str(package / "library.py"))
        for former in package.glob("*.so"):
            former.unlink()
        # The compiler keeps what it makes for itself in a folder that goes: an image is built without a home.
        with tempfile.TemporaryDirectory(dir=package, prefix=".build-") as folder:
            made = Path(folder) / library["PATH"].name
            argv = [sys.executable, "-m", "ziglang", "cc", *_FLAGS, "-o", str(made), *map(str, library["SOURCES"])]
            own = {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}
            subprocess.run(argv, check=True, env={**os.environ, **own})
            made.replace(library["PATH"])
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
