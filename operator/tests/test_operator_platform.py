"""The platform on this machine, with its real parts: a household's birth, a reading's way, and what survives what."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import nats
import psutil
import pytest
import yaml
from nats.aio.client import RawCredentials
from wattfleet_operator.embedded.free_ports import FreePorts, is_free
from wattfleet_operator.embedded.installation import held, stop_leftovers
from wattfleet_operator.embedded.platform import CannotStart, Platform
from wattfleet_tenants import grants, subjects
from wattfleet_tenants.crd import Household, Metadata
from wattfleet_tenants.home_file import HomeFile, read_home_file
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing import builders
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import eventually, wait_until
from wattfleet_tenants.wire import receipts

EXAMPLE = Path(__file__).parents[1] / "examples" / "household.yaml"
S1 = ShardId("s1")
DEMO_WITHIN_S = 120.0


@pytest.fixture(autouse=True, scope="module")
def programs() -> Iterator[None]:
    """The checkout's own programs, as `make` puts them on PATH."""
    with pytest.MonkeyPatch.context() as patch:
        cache = Path(__file__).parents[2] / ".cache"
        patch.setenv("PATH", f"{cache / 'bin'}{os.pathsep}{os.environ['PATH']}")
        if "WATTFLEET_CANAILLE" not in os.environ and (cache / "canaille/bin/canaille").exists():
            patch.setenv("WATTFLEET_CANAILLE", str(cache / "canaille/bin/canaille"))
        yield


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform(tmp_path / "home") as platform:
        yield platform


def minutes_ago_ms(minutes: int) -> int:
    return (int(time.time()) // 60 - minutes) * 60_000


async def publish(home: HomeFile, sequence: int, interval_start_ms: int, power_w: float) -> None:
    """Sends one minute as the household's agent would, again and again until it is acknowledged."""
    client = await nats.connect(
        list(home.servers),
        user_credentials=RawCredentials(home.credentials),
        inbox_prefix=subjects.agent_inbox(home.household),
    )
    try:
        payload = builders.message(sequence, interval_start_ms, (power_w,))

        async def acknowledged() -> bool:
            try:
                answer = await client.request(subjects.measurements(home.shard, home.household), payload, timeout=2)
            except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
                return False
            return answer.data == receipts.ACKNOWLEDGED

        await eventually(acknowledged, 20, "the reading is acknowledged")
    finally:
        await client.close()


async def now_of(platform: Platform, household: HouseholdId) -> float | None:
    """The power (W) that the reader tells of the household's first socket."""
    shard = platform.resources.shard(S1)
    assert shard is not None
    grant = grants.sign(platform.vault.path("signing/private.pem").read_text(), "reader", household, 30)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            f"{shard.status.reader_url}/v1/households/{household}/now", headers={"Authorization": f"Bearer {grant}"}
        )
    if answer.status_code != httpx.codes.OK or not answer.json()["sockets"]:
        return None
    power_w: float | None = answer.json()["sockets"][0]["power_w"]
    return power_w


def wish(platform: Platform, household: HouseholdId, **spec: object) -> None:
    fields = yaml.safe_load(EXAMPLE.read_text())
    fields["metadata"]["name"] = household
    fields["spec"] |= spec
    platform.resources.apply(Household.model_validate(fields))


def pid_of(platform: Platform, name: str) -> int | None:
    return platform.supervisor.process(name).pid


def own_processes(home: Path) -> list[psutil.Process]:
    """All that a platform runs: what is listed, and what that has started."""
    listed = [psutil.Process(e["pid"]) for e in json.loads((home / "processes.json").read_text()) if e["pid"]]
    return [p for leader in listed for p in (leader, *leader.children(recursive=True))]


def doors_beyond_loopback(processes: list[psutil.Process]) -> list[tuple[str, int]]:
    connections = [c for process in processes for c in process.net_connections("inet")]
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN or c.type == socket.SOCK_DGRAM]
    assert listening
    return [(address.ip, address.port) for address in listening if address.ip not in ("127.0.0.1", "::1")]


async def test_a_household_from_the_readmes_yaml_is_born_and_its_reading_is_answered_even_after_every_part_was_killed(
    platform: Platform, household: HouseholdId
) -> None:
    wish(platform, household)
    path = await platform.home_file(household)
    assert path.stat().st_mode & 0o777 == 0o600
    home = read_home_file(path)
    await publish(home, 1, minutes_ago_ms(3), 111.1)

    async def answered(power_w: float) -> bool:
        try:
            return await now_of(platform, household) == power_w
        except httpx.HTTPError:
            return False

    await eventually(lambda: answered(111.1), 30, "the reading is answered")
    assert doors_beyond_loopback(own_processes(platform.home)) == []

    for name in ("ingest-s1", "writer-s1", "reader-s1", "store-s1", "nats"):
        before = pid_of(platform, name)
        assert before
        os.kill(before, signal.SIGKILL)
        await eventually(lambda n=name, b=before: pid_of(platform, n) not in (None, b), 10, f"{name} runs again")
    await platform.supervisor.ready("nats", 10)
    await platform.home_file(household)
    assert read_home_file(path) == home, "nothing was minted anew"
    await publish(home, 2, minutes_ago_ms(2), 222.2)
    await eventually(lambda: answered(222.2), 60, "the next reading is answered")


async def test_a_household_is_cut_off_when_suspended_and_gone_when_deleted(
    platform: Platform, household: HouseholdId
) -> None:
    wish(platform, household)
    home = read_home_file(await platform.home_file(household))
    await publish(home, 1, minutes_ago_ms(2), 1.0)
    wish(platform, household, suspended=True)
    await eventually(lambda: stands(platform, household, "Suspended"), 10, "it is suspended")
    with pytest.raises(nats.errors.Error):
        await nats.connect(
            list(home.servers),
            user_credentials=RawCredentials(home.credentials),
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
        )
    wish(platform, household, deletionPolicy="Retain")
    await eventually(lambda: stands(platform, household, "Ready"), 10, "it is back")
    assert read_home_file(await platform.home_file(household)).credentials != home.credentials

    delete(platform, household)
    await eventually(lambda: platform.resources.household(household) is None, 60, "it is gone when all is stored")
    assert not (platform.home / "homes" / f"{household}.json").exists()
    assert await now_of(platform, household) == 1.0


async def test_what_a_deleted_household_has_just_sent_is_erased_too(platform: Platform, household: HouseholdId) -> None:
    wish(platform, household, deletionPolicy="Erase")
    home = read_home_file(await platform.home_file(household))
    await publish(home, 1, minutes_ago_ms(2), 1.0)
    delete(platform, household)
    await eventually(lambda: stands(platform, household, "Draining"), 10, "its reading is on its way")
    await eventually(lambda: stands(platform, household, "Erasing"), 60, "it is stored, and erased")
    assert await now_of(platform, household) is None


def stands(platform: Platform, household: HouseholdId, reason: str) -> bool:
    resource = platform.resources.household(household)
    return resource is not None and bool(resource.status.conditions) and resource.status.conditions[0].reason == reason


def delete(platform: Platform, household: HouseholdId) -> None:
    resource = platform.resources.household(household)
    assert resource is not None
    deleted = Metadata.model_validate({"name": household, "deletionTimestamp": "2026-11-21T12:00:00Z"})
    platform.resources.apply(resource.model_copy(update={"metadata": deleted}))


PLATFORM = """
import asyncio, sys
from pathlib import Path
from wattfleet_operator.embedded.platform import Platform

async def main():
    async with Platform(Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_after_a_kill_nothing_is_left_running_and_the_next_start_finds_everything(
    tmp_path: Path, household: HouseholdId
) -> None:
    command = [sys.executable, "-c", PLATFORM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:  # noqa: ASYNC220 (starts at once)
        assert first.stdout
        assert await asyncio.to_thread(first.stdout.readline) == b"ready\n"
        processes = own_processes(tmp_path)
        keys = {p: p.read_bytes() for p in (tmp_path / "vault").rglob("*.seed")}
        with pytest.raises(CannotStart, match=f"in use by process {first.pid}"):
            async with Platform(tmp_path):
                pass
        first.kill()
    await eventually(lambda: not any(p.is_running() for p in processes), 5, "all died with it")
    async with Platform(tmp_path) as second:
        assert {p: p.read_bytes() for p in (tmp_path / "vault").rglob("*.seed")} == keys
        await second.add_household(household, "A home")
        assert (await second.home_file(household)).exists()


async def test_a_taken_page_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"port {port} is taken: choose another with --port N"):
            async with Platform(tmp_path, port):
                pass


async def test_a_missing_program_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotStart, match="the program victoria-metrics is not there"):
        async with Platform(tmp_path):
            pass


def test_ports_are_remembered_and_picked_anew_only_when_taken(tmp_path: Path) -> None:
    first = FreePorts(tmp_path / "ports.json")
    ports = {name: first.port(name) for name in ("a", "b", "c")}
    assert len(set(ports.values())) == 3
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", ports["b"]))
        somebody.listen()
        second = FreePorts(tmp_path / "ports.json")
        assert second.port("a") == ports["a"]
        assert second.port("b") not in ports.values()
        assert not is_free(ports["b"])


DAMAGED = ["", "{", "null", "[1]", '{"nats": "x"}', '[{"name": "nats", "pid": 1}]', '[{"pid": "1", "created": null}]']


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_notes_of_an_earlier_run_keep_nobody_from_starting(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    (tmp_path / "processes.json").write_text(text)
    assert stop_leftovers(tmp_path) == []
    port = FreePorts(tmp_path / "ports.json").port("nats")
    assert FreePorts(tmp_path / "ports.json").port("nats") == port


def test_an_installation_is_for_its_owners_eyes_whoever_made_its_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    with held(home):
        assert home.stat().st_mode & 0o777 == 0o700


@contextmanager
def demo(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo's command, killed when it has not ended after two minutes."""
    command = [sys.executable, "-m", "wattfleet_operator.embedded.demo", "--home", str(home), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        limit = threading.Timer(DEMO_WITHIN_S, process.kill)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def test_a_second_demo_in_the_same_folder_says_who_uses_it_in_one_line(tmp_path: Path) -> None:
    with held(tmp_path), demo(tmp_path, "--port", str(free_port())) as second:
        said = everything_said(second)
    assert second.returncode == 1
    assert said.splitlines() == [
        f"Wattfleet cannot start: {tmp_path} is in use by process {os.getpid()}: stop that one first"
    ]


def test_a_damaged_resource_is_named_in_one_line(tmp_path: Path) -> None:
    damaged = tmp_path / "fleet" / "shards" / "s1.yaml"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("")
    with demo(tmp_path, "--port", str(free_port())) as process:
        said = everything_said(process)
    assert process.returncode == 1
    assert said.splitlines()[-1] == f"Wattfleet cannot start: {damaged} does not hold one resource"
    assert "Traceback" not in said


def everything_said(process: "subprocess.Popen[str]", until: str | None = None) -> str:
    """What the demo prints up to its end, or up to the line with `until`."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if until is not None and until in line:
            return said
    assert until is None, said
    process.wait()
    return said


@pytest.mark.parametrize("wrong", [("--port", "0"), ("--port", "x"), ("--history-days", "9999")])
def test_a_wrong_argument_is_named(tmp_path: Path, wrong: tuple[str, str]) -> None:
    with demo(tmp_path, *wrong) as process:
        assert f"argument {wrong[0]}" in everything_said(process)
    assert process.returncode == 2


@pytest.mark.skipif("WATTFLEET_UI_FOLDER" not in os.environ, reason="the page is built by `make test`")
def test_the_demo_tells_where_to_sign_in_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    port = free_port()
    with demo(tmp_path, "--port", str(port), "--history-days", "1") as process:
        said = everything_said(process, "Ctrl-C stops everything")
        assert f"Wattfleet is ready: http://127.0.0.1:{port}" in said
        assert f"alice  {(tmp_path / 'vault' / 'people' / 'alice.password').read_text()}" in said
        processes = own_processes(tmp_path)
        assert doors_beyond_loopback([*processes, psutil.Process(process.pid)]) == []
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == httpx.codes.OK
        process.send_signal(signal.SIGINT)
        assert "Stopped." in everything_said(process)
    assert process.returncode == 0
    wait_until(lambda: not any(p.is_running() for p in processes), 5, "nothing runs any more")
    assert is_free(port)
