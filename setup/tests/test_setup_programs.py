"""What is read of a go.mod before its programs are built, and how Debian's packages of a node are asked for."""

from pathlib import Path

import go_programs
import node_programs
import pytest
import step

GO_MOD = """module wattfleet.io/e2e/some

go 1.26.0

tool (
\texample.io/one/cmd/first
\texample.io/two
)

require (
\texample.io/one v1.36.3 // indirect
\texample.io/two v0.9.0
)
"""


def test_the_tools_of_a_module_are_what_is_built() -> None:
    assert go_programs.tools(GO_MOD) == ["example.io/one/cmd/first", "example.io/two"]
    assert go_programs.tools("module m\n\ntool example.io/alone\n") == ["example.io/alone"]
    assert go_programs.tools("module m\n") == []


def test_a_modules_version_is_read_and_missed() -> None:
    assert go_programs.version(GO_MOD, "example.io/one") == "v1.36.3"
    with pytest.raises(step.StepFailedError, match=r"example\.io/other"):
        go_programs.version(GO_MOD, "example.io/other")


def test_programs_of_our_own_lie_beside_the_go_mod(tmp_path: Path) -> None:
    for name in ("pause", "forward"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.go").touch()
    assert go_programs.own_programs(tmp_path) == ["./forward", "./pause"]


def test_no_service_starts_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with node_programs.no_services(policy):
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()


def test_a_policy_that_is_there_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("the machine's own")
    with node_programs.no_services(policy):
        assert policy.read_text() == "the machine's own"
    assert policy.read_text() == "the machine's own"


def test_without_root_the_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(node_programs, "found_on_path", lambda _: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="1"):
        node_programs.main()
    assert "sudo apt-get install --no-install-recommends containerd runc conntrack" in capsys.readouterr().out
