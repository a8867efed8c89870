"""The command: what it writes, and when it fails."""

import json
from pathlib import Path

import pytest
from wattfleet_bench import ladder
from wattfleet_bench.bench import Bench
from wattfleet_bench.ladder import RUNGS, Rung, main
from wattfleet_bench.results import Result
from wattfleet_bench.verification import NotAsSent


def test_one_rung_writes_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "bench.json"
    assert main(["--only", "message", "--output", str(output)]) == 0
    written = {one["name"]: one for one in json.loads(output.read_text())}
    assert written["message.bytes"]["met"] is True
    assert "nats-server" in written["message.bytes"]["conditions"]
    assert "| message of 11 readings | 470 |" in capsys.readouterr().out


def test_a_failed_verification_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lossy(_: Bench) -> list[Result]:
        raise NotAsSent("29 samples instead of 30")

    monkeypatch.setitem(ladder.RUNGS, "pipeline-60k", Rung(lossy, 1))
    output = tmp_path / "bench.json"
    assert main(["--only", "message", "--only", "pipeline-60k", "--output", str(output)]) == 1
    assert "FAILED pipeline-60k: the store does not hold what was sent: 29 samples instead of 30" in (
        capsys.readouterr().out
    )
    assert json.loads(output.read_text())[-1]["met"] is False


def test_a_broken_rung_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Bench) -> list[Result]:
        raise RuntimeError("no such program")

    monkeypatch.setitem(ladder.RUNGS, "broker", Rung(broken, 1))
    output = tmp_path / "bench.json"
    assert main(["--only", "broker", "--only", "message", "--output", str(output)]) == 1
    assert {one["name"].partition(".")[0] for one in json.loads(output.read_text())} == {"message"}


def test_the_ladder_takes_little_more_than_ten_minutes() -> None:
    assert 8 * 60 <= sum(rung.expected_s for rung in RUNGS.values()) <= 13 * 60


def test_ctrl_c_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Bench) -> list[Result]:
        raise KeyboardInterrupt

    monkeypatch.setitem(ladder.RUNGS, "message", Rung(interrupted, 1))
    output = tmp_path / "bench.json"
    assert main(["--only", "message", "--output", str(output)]) == 130
    assert not output.exists()
