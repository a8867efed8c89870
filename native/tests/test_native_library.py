"""Functions are called only in a library that was made from the sources beside it."""

import runpy
import shutil
from pathlib import Path

import pytest
from wattfleet_native import library


def test_the_library_of_these_sources_is_there() -> None:
    assert library.PATH.exists()
    assert len(library.SOURCES) == 2


def test_a_library_of_other_sources_is_not_taken(tmp_path: Path) -> None:
    for file in (Path(library.__file__), library.PATH, *library.SOURCES):
        shutil.copy(file, tmp_path)
    copied = runpy.run_path(str(tmp_path / "library.py"))
    assert copied["library"]().wattfleet_write_runs
    with (tmp_path / "runs.c").open("a") as source:
        source.write("/* another one */\n")
    changed = runpy.run_path(str(tmp_path / "library.py"))
    with pytest.raises(ImportError, match="install wattfleet-native anew"):
        changed["library"]()
