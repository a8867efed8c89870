"""The README's map and walkthroughs lead to files that exist, in an order that a newcomer can follow."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title!r}"
    return found[1]


def paths_in(text: str) -> list[str]:
    return [path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if not path.startswith(("/", "."))]


@pytest.mark.parametrize("title", ["A reading's journey", "A household's birth"])
def test_each_step_of_a_walkthrough_names_a_file_that_exists(title: str) -> None:
    steps = re.findall(r"^\d+\. (.*(?:\n   .*)*)", section(title), re.MULTILINE)
    assert len(steps) >= 8
    for step in steps:
        files = paths_in(step)
        assert files, f"no file is named in: {step}"
        missing = [file for file in files if not (ROOT / file).is_file()]
        assert not missing, f"{title}: {missing}"


def test_every_folder_of_the_map_exists_and_every_folder_is_on_the_map() -> None:
    named = {path.rstrip("/") for path in re.findall(r"^\| `([\w_]+/)`", section("The map"), re.MULTILINE)}
    assert all((ROOT / folder).is_dir() for folder in named)
    members = {path.parent.name for path in ROOT.glob("*/pyproject.toml")}
    assert members <= named


def test_every_make_target_that_is_named_exists() -> None:
    named = set(re.findall(r"`?(?:^|\s|`)make ([a-z0-9-]+)", README, re.MULTILINE))
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check"} <= named
    assert named <= targets


def test_every_picture_exists() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
