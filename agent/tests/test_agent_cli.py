import json
import logging
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_helpers import agent, home_file, recording
from wattfleet_agent.__main__ import main
from wattfleet_tenants.home_file import HomeFile, write_home_file
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.data_plane import IngestProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import eventually

CREDS = "-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----\ny\n"
RUN = ["--sensor", "simulated:family"]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command line sends logs to a standard output that is gone after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def failure(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("wattfleet_agent: ")
    return error


def test_sockets_prints_the_names_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sockets", "simulated:family"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert names == ["Heat pump", "EV charger", "Kitchen", "Laundry", "Home office", "Fridge"]


@pytest.mark.parametrize("sensor", ["simulated:castle", "gpio:1", "simulated", ""])
def test_an_unknown_sensor_is_one_line(sensor: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "simulated" in failure(["sockets", sensor], capsys)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no home file"),
        ("", "it is not JSON"),
        ('{"household": "h0123456789abcdefg"', "it is not JSON"),
        ("[]", "is wrong"),
        ('{"household": "*"}', "is not a household id"),
        ('{"household": "h0123456789abcdefg"}', "'shard' is missing"),
    ],
)
def test_a_missing_or_wrong_home_file_is_one_line(
    content: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home.json"
    if content is not None:
        home.write_text(content)
    assert reason in failure(["run", "--home", str(home), *RUN], capsys)


@pytest.mark.parametrize(
    ("credentials", "servers", "reason"),
    [("secret text", ("nats://x",), "credentials"), (CREDS, (), "names no servers")],
)
def test_a_home_file_without_what_is_needed_is_one_line_without_its_secrets(
    credentials: str,
    servers: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    household: HouseholdId,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_home_file(tmp_path / "home.json", HomeFile(household, ShardId("s1"), servers, credentials, ""))
    error = failure(["run", "--home", str(tmp_path / "home.json"), *RUN], capsys)
    assert reason in error
    assert credentials not in error


def test_a_malformed_recording_sends_nothing(
    tmp_path: Path, household: HouseholdId, capsys: pytest.CaptureFixture[str]
) -> None:
    write_home_file(tmp_path / "home.json", HomeFile(household, ShardId("s1"), ("nats://127.0.0.1:1",), CREDS, ""))
    file = recording(tmp_path / "house.csv", 10)
    file.write_text(file.read_text() + "rubbish\n")
    arguments = ["replay", str(file), "--home", str(tmp_path / "home.json"), "--time-zone", "Europe/Paris"]
    assert "line 12: 1 columns instead of 9" in failure(arguments, capsys)
    assert not list(tmp_path.glob("*.db*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "x", "--home", "y", "--time-zone", "Mars/Olympus"],
        ["resend", "--home", "y", "--since", "yesterday"],
        ["resend", "--home", "y", "--since", "2026-11-21T14:00"],
        ["run", "--home", "y", *RUN, "--history", "-1"],
        ["run", "--home", "y", *RUN, "--history", "1000"],
        [],
    ],
)
def test_wrong_arguments_are_refused_with_the_reason(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "replay", "resend", "sockets"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    assert raised.value.code == 0
    assert "usage: python -m wattfleet_agent" in capsys.readouterr().out


async def test_a_running_agent_tells_how_it_is_and_keeps_its_secrets(
    broker: ShardBroker, ingest: IngestProcess, household: HouseholdId, tmp_path: Path
) -> None:
    home, port = home_file(broker, household, tmp_path), free_port()
    health = {"WATTFLEET_HEALTH_PORT": str(port), "WATTFLEET_LOG_LEVEL": "DEBUG"}

    def get(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    async with agent(tmp_path, "run", "--home", home, *RUN, "--history", 1, **health) as running:
        await eventually(lambda: get("/readyz"), 20, "the agent is ready")
        await eventually(lambda: "agent_catch_up_remaining 0.0" in get("/metrics"), 30, "history is acknowledged")
        metrics = get("/metrics")
        assert "wattfleet_agent_acknowledged_total 14" in metrics
        assert "wattfleet_agent_connected 1.0" in metrics
        async with agent(tmp_path, "run", "--home", home, *RUN) as second:
            assert await second.ends(10) == 2
        running.process.terminate()
        assert await running.ends(2.5) == 0
    log = running.log.read_text()
    assert "another agent is working on the outbox" in log
    secrets = [line for line in broker.household_credentials(household).splitlines() if line.startswith("SU")]
    assert secrets
    assert "BEGIN" not in log
    assert '"seed"' not in log
