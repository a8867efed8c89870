"""The supervisor with real processes: it restarts, it stops in order, and nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from wattfleet_operator.embedded import process as process_module
from wattfleet_operator.embedded.installation import held, stop_leftovers
from wattfleet_operator.embedded.process import Process, bound_log
from wattfleet_operator.embedded.programs import CannotStart
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.errors import NotYet
from wattfleet_tenants.testing.programs import free_port
from wattfleet_tenants.testing.waiting import eventually, wait_until

SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT_WITH_CHILD = (
    "import subprocess, sys, time;"
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True);"
    "time.sleep(600)"
)
LEAVES_A_NOTE = (
    "import signal, sys, time;"
    "signal.signal(signal.SIGTERM, lambda *_: (open({!r}, 'a').write({!r}), sys.exit()));"
    "print('up', flush=True);"
    "time.sleep(600)"
)


def python(name: str, code: str, **more: object) -> Process:
    return Process(name, (sys.executable, "-c", code), **more)  # type: ignore[arg-type]


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path) as supervisor:
        yield supervisor


async def running(supervisor: Supervisor, name: str) -> int:
    return await eventually(lambda: supervisor.process(name).pid, 5, f"{name} runs")


async def said(tmp_path: Path, name: str, text: str = "up") -> None:
    log = tmp_path / "logs" / f"{name}.log"
    await eventually(lambda: log.exists() and text in log.read_text(), 5, f"{name} says {text!r}")


async def test_a_killed_process_is_started_again_and_listed_with_its_new_pid(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.ensure(python("sleeper", SLEEPER))
    first = await running(supervisor, "sleeper")
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: supervisor.process("sleeper").pid not in (None, first), 5, "a new pid")
    (listed,) = json.loads((tmp_path / "processes.json").read_text())
    assert listed["pid"] == supervisor.process("sleeper").pid
    assert listed["restarts"] == 1


async def test_a_process_hears_how_much_to_say_and_none_of_the_supervisors_other_settings(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTFLEET_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("WATTFLEET_HOME", "not-for-it")
    names = "[k for k in os.environ if k.startswith('WATTFLEET_')]"
    await supervisor.ensure(python("teller", f"import os, time; print({names}, flush=True); time.sleep(600)"))
    await said(tmp_path, "teller", "['WATTFLEET_LOG_LEVEL']\n")


async def test_what_a_killed_process_leaves_behind_is_ended_before_it_starts_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.ensure(python("parent", PARENT_WITH_CHILD))
    first = await running(supervisor, "parent")
    await said(tmp_path, "parent", "\n")
    grandchild = int((tmp_path / "logs" / "parent.log").read_text())
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not psutil.pid_exists(grandchild), 5, "the grandchild is gone")


async def test_a_process_that_ends_at_once_is_restarted_with_growing_pauses(supervisor: Supervisor) -> None:
    await supervisor.ensure(python("hasty", ""))
    await eventually(lambda: supervisor.process("hasty").restarts >= 2, 5, "two restarts")
    with pytest.raises(NotYet) as caught:
        await supervisor.ready("hasty-unknown", 0)
    assert caught.value.reason == "HastyNotReady"
    assert supervisor.process("hasty").restarts < 6


async def test_a_program_that_is_not_there_is_reported_as_not_ready(supervisor: Supervisor) -> None:
    await supervisor.ensure(Process("ghost", ("/nowhere/ghost",)))
    await eventually(lambda: supervisor.process("ghost").restarts >= 1, 5, "it was tried")


async def test_the_same_process_is_left_alone_and_a_changed_one_replaced(supervisor: Supervisor) -> None:
    await supervisor.ensure(python("sleeper", SLEEPER))
    first = await running(supervisor, "sleeper")
    await supervisor.ensure(python("sleeper", SLEEPER))
    assert supervisor.process("sleeper").pid == first
    await supervisor.ensure(python("sleeper", SLEEPER, env={"CHANGED": "1"}))
    assert await running(supervisor, "sleeper") != first
    assert not psutil.pid_exists(first)


async def test_processes_stop_in_reverse_order_of_their_start(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with Supervisor(tmp_path) as supervisor:
        for name in ("a", "b", "c"):
            await supervisor.ensure(python(name, LEAVES_A_NOTE.format(str(notes), name)))
            await said(tmp_path, name)
    assert notes.read_text() == "cba"
    assert json.loads((tmp_path / "processes.json").read_text()) == []


async def test_whoever_ignores_the_request_to_stop_is_killed_at_once_when_in_a_hurry(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.ensure(python("stubborn", STUBBORN))
        await said(tmp_path, "stubborn")
        pid = await running(supervisor, "stubborn")
        supervisor.hurry()
    assert not psutil.pid_exists(pid)


async def test_readiness_is_what_the_ready_url_answers_at_this_moment(supervisor: Supervisor) -> None:
    port = free_port()
    serve = f"import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    await supervisor.ensure(python("web", serve, ready_url=f"http://127.0.0.1:{port}/"))
    await supervisor.ready("web", 10)
    await supervisor.ensure(python("web", serve, ready_url=f"http://127.0.0.1:{port}/missing"))
    with pytest.raises(NotYet, match="web answers 404"):
        await eventually_refused(supervisor)
    await supervisor.stop("web")
    with pytest.raises(NotYet, match="web does not run"):
        await supervisor.check("web")


async def eventually_refused(supervisor: Supervisor) -> None:
    async def answers() -> bool:
        try:
            await supervisor.check("web")
        except NotYet as error:
            return "answers" in error.message
        return True

    await eventually(answers, 10, "the server answers")
    await supervisor.check("web")


PLATFORM = """
import asyncio, sys
from pathlib import Path
from signal import SIGTERM
from wattfleet_operator.embedded.process import Process
from wattfleet_operator.embedded.supervisor import Supervisor

async def main():
    async with Supervisor(Path(sys.argv[1])) as supervisor:
        await supervisor.ensure(Process("one", (sys.executable, "-c", "import time; time.sleep(600)")))
        argv = (sys.executable, "-c", "import time; time.sleep(600)")
        await supervisor.ensure(Process("two", argv, death_signal=SIGTERM))
        await asyncio.sleep(600)

asyncio.run(main())
"""


def listed_pids(home: Path) -> list[int]:
    try:
        return [entry["pid"] for entry in json.loads((home / "processes.json").read_text()) if entry["pid"]]
    except (FileNotFoundError, ValueError):
        return []


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    platform = subprocess.Popen([sys.executable, "-c", PLATFORM, str(tmp_path)])
    try:
        wait_until(lambda: len(listed_pids(tmp_path)) == 2, 10, "both run")
        pids = listed_pids(tmp_path)
        # Each asks for its end in its first milliseconds, when it is still the tether.
        wait_until(lambda: all("tether" not in " ".join(psutil.Process(p).cmdline()) for p in pids), 5, "both are tied")
    finally:
        platform.kill()
        platform.wait()
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), 5, "both died")


def test_what_a_crashed_platform_left_is_known_by_pid_and_start_time_together(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", SLEEPER])
    somebody_else = subprocess.Popen([sys.executable, "-c", SLEEPER])
    try:
        created = psutil.Process(left.pid).create_time()
        entries = [
            {"name": "left", "pid": left.pid, "created": created},
            {"name": "reused-pid", "pid": somebody_else.pid, "created": created - 100},
            {"name": "ended", "pid": None, "created": None},
        ]
        (tmp_path / "processes.json").write_text(json.dumps(entries))
        assert stop_leftovers(tmp_path) == ["left"]
        assert not psutil.pid_exists(left.pid)
        assert somebody_else.poll() is None
    finally:
        for process in (left, somebody_else):
            process.kill()
            process.wait()


def test_an_installation_is_used_by_one_platform_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(CannotStart, match=f"in use by process {os.getpid()}"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_a_log_that_has_grown_is_put_aside_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "LOG_BYTES", 100)
    log = tmp_path / "x.log"
    bound_log(log)
    with log.open("a") as writer:
        writer.write("y" * 101)
        writer.flush()
        bound_log(log)
        writer.write("z")
    assert log.read_text() == "z"
    assert (tmp_path / "x.log.1").read_text() == "y" * 101
