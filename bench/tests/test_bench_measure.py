"""Costs of processes, as the kernel tells them."""

import os
import subprocess
import sys
from pathlib import Path

from wattfleet_bench.measure import Meter, cpu_seconds, disk_bytes, machine, memory
from wattfleet_tenants.testing.waiting import wait_until

_BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


def test_a_child_s_work_counts_for_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _BUSY]) as process:
        try:
            with Meter({"busy": process.pid, "idle": os.getpid()}) as meter:
                wait_until(lambda: cpu_seconds(process.pid) > 0.3, 30, "the grandchild has worked")
            assert 0.2 < meter.usage["busy"].cpu_s < 30
            assert meter.cpu_s == meter.usage["busy"].cpu_s + meter.usage["idle"].cpu_s
            assert meter.wall_s > 0
            assert meter.usage["busy"].memory.rss > 5_000_000
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        finally:
            os.kill(int(children[0]), 9)


def test_a_process_that_is_gone_costs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert cpu_seconds(process.pid) == 0
    assert memory(process.pid).rss == 0


def test_disk_is_what_files_take(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(os.urandom(100_000))
    os.sync()
    assert 100_000 <= disk_bytes(tmp_path / "a") < 200_000


def test_conditions_name_versions_and_no_place() -> None:
    here = machine()
    assert here.nats_server.count(".") == 2
    assert here.victoria_metrics.count(".") == 2
    assert here.cores >= 1
    assert "/" not in str(here)
    assert os.uname().nodename not in str(here)
