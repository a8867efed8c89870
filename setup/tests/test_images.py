"""How the set-up builds images: with what works here, telling nothing that is secret, and only what has changed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import base_image
import e2e_images
import images
import podman
import pytest
import step

A_BUILDER = """#!/bin/sh
echo "$(basename "$0") $*" >> {said}
[ "$1" != info ] || exit {status}
while [ $# -gt 0 ]; do [ "$1" != --output ] || echo "$3 $4" > "$2"; shift; done
"""


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    """Puts a builder on PATH that tells `said` what it is asked to do, and there is no other."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(images, "PAGE", Path(__file__))
    for name in ("sh", "basename", "git"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))

    def put(name: str, works: bool) -> None:
        program = programs / name
        program.write_text(A_BUILDER.format(said=tmp_path / "said", status=0 if works else 1))
        program.chmod(0o755)

    return put


def test_docker_without_its_engine_is_passed_over(
    put: Callable[[str, bool], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("docker", False)
    put("podman", True)
    monkeypatch.setattr(sys, "argv", ["images", "agent", "ui", "--save", str(tmp_path)])
    images.main()
    said = (tmp_path / "said").read_text().splitlines()
    assert said[:2] == ["docker info", "podman info"]
    assert [line.split()[1:3] for line in said[2:4]] == [["build", "--target=agent"], ["build", "--target=ui"]]
    assert said[4].startswith("podman save --multi-image-archive --output ")
    assert (tmp_path / f"wattfleet-{images.version()}.tar").exists()


def test_buildah_saves_each_image_in_an_archive_of_its_own(
    put: Callable[[str, bool], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("buildah", True)
    monkeypatch.setattr(sys, "argv", ["images", "agent", "--save", str(tmp_path)])
    images.main()
    name = images.image("agent")
    archive = tmp_path.resolve() / f"agent-{images.version()}.tar"
    assert (tmp_path / "said").read_text().splitlines()[-1] == f"buildah push {name} docker-archive:{archive}:{name}"


def test_without_a_builder_it_is_said_what_to_install(
    put: Callable[[str, bool], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("docker", False)
    monkeypatch.setattr(sys, "argv", ["images"])
    with pytest.raises(SystemExit, match="1"):
        images.main()
    assert "apt-get install podman" in capsys.readouterr().out


def test_an_unknown_image_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["images", "oven"])
    with pytest.raises(SystemExit, match="2"):
        images.main()
    assert "there is no image oven" in capsys.readouterr().err


def test_an_index_with_a_password_is_passed_on_by_name_alone(
    put: Callable[[str, bool], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("podman", True)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://me:secret@index.example/simple")
    running = step.Step(tmp_path / "log")
    images.Builder("podman").build(running, "agent")
    assert "--build-arg=UV_DEFAULT_INDEX " in (tmp_path / "said").read_text()
    assert "secret@" not in (tmp_path / "said").read_text() + running.log.read_text()


def test_the_dockerfile_has_a_target_for_every_image_and_names_its_base() -> None:
    stages = (step.ROOT / "Dockerfile").read_text().splitlines()
    assert {f"FROM runtime AS {target}" for target in images.TARGETS} <= set(stages)
    assert base_image.name() == "docker.io/library/python:3.11-slim-bookworm"


@pytest.mark.parametrize("target", images.TARGETS)
def test_an_image_is_made_from_the_tenants_its_own_member_and_nothing_of_tests(target: str) -> None:
    found = {str(path.relative_to(step.ROOT)) for path in e2e_images.sources(target)}
    own = e2e_images.FOLDERS.get(target, target)
    assert {"Dockerfile", "uv.lock", "tenants/wattfleet_tenants/series.py", f"{own}/pyproject.toml"} <= found
    members = {path.split("/")[0] for path in found if path.endswith(".py")}
    assert members == {"tenants", own} | ({"native"} if target == "tenants" else set())
    assert ("native/wattfleet_native/runs.c" in found) == (target == "tenants")
    assert not [path for path in found if "/testing/" in path or "/tests/" in path or "__pycache__" in path]


def test_a_servers_image_holds_the_libraries_that_its_program_is_linked_to() -> None:
    files = dict(e2e_images.Server("example.org/sh:1", Path("/bin/sh"), "/the-shell").files())
    assert files.pop(Path("/bin/sh")) == "/the-shell"
    linked = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=False).stdout
    assert all(str(file) == place and place in linked for file, place in files.items())
    assert any("libc" in place for place in files.values())


def test_podman_is_led_to_a_storage_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman, "HOME", tmp_path)
    settings = podman.settings()
    assert f'graphroot = "{tmp_path}/storage"' in Path(settings["CONTAINERS_STORAGE_CONF"]).read_text()
    assert Path(settings["CONTAINERS_CONF"]).parent == tmp_path
    assert Path(settings["TMPDIR"]).is_dir()


def test_without_apt_podman_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="1"):
        podman.main()
    assert "podman, runc, debootstrap" in capsys.readouterr().out
