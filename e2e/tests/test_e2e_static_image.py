"""The archive of an image that holds one static program, as a container runtime reads it."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from wattfleet_e2e.images import USER_ID, static_image

NAME = "wattfleet.io/part:1"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What begins like a program for amd64."""
    path = tmp_path / "part"
    path.write_bytes(b"\x7fELF".ljust(18, b"\0") + b"\x3e\0")
    return path


def test_the_program_runs_as_somebody_without_rights_whom_the_image_knows(program: Path, tmp_path: Path) -> None:
    with tarfile.open(static_image(NAME, program, ("/part", "-v"), tmp_path / "images")) as archive:
        (image,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        assert image["RepoTags"] == [NAME]
        config = json.loads(archive.extractfile(image["Config"]).read())  # type: ignore[union-attr]
        assert config["config"]["Entrypoint"] == ["/part", "-v"]
        assert config["config"]["User"] == f"{USER_ID}:{USER_ID}"
        assert config["architecture"] == "amd64"
        (layer_name,) = image["Layers"]
        layer = archive.extractfile(layer_name)
        assert layer
        content = layer.read()
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content).hexdigest()}"]
        layer.seek(0)
        with tarfile.open(fileobj=layer) as files:
            assert {file.name: oct(file.mode) for file in files} == {
                "etc": "0o755",
                "tmp": "0o1777",
                "etc/passwd": "0o644",
                "etc/group": "0o644",
                "part": "0o755",
            }
            passwords = files.extractfile("etc/passwd")
            assert passwords
            assert f":{USER_ID}:{USER_ID}:".encode() in passwords.read()


def test_the_same_program_gives_the_same_archive(program: Path, tmp_path: Path) -> None:
    first, second = (static_image(NAME, program, ("/part",), tmp_path / folder) for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho a script, which takes a shell\n")
    with pytest.raises(ValueError, match="is no program"):
        static_image(NAME, script, ("/script",), tmp_path)
