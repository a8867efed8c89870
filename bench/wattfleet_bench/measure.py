"""What a process costs: CPU seconds, memory and disk, read from the kernel.

CPU seconds are user and system time of a process with all its threads and children; they tell more than wall time,
which on a machine of few cores is everybody's. The kernel counts them in ticks of 10 ms.
"""

import gzip
import os
import platform
import re
import subprocess
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from wattfleet_tenants.testing.programs import find_program

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME, _CUTIME, _CSTIME = 11, 12, 13, 14  # counted from behind the command's name
_PEAK_FROM_NOW = "5"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in memory now, and the most there were since the process began or `forget_peak`."""

    rss: int
    peak: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took between two snapshots. memory: at the second one."""

    cpu_s: float
    memory: Memory


def cpu_seconds(pid: int) -> float:
    """User and system seconds of `pid`: its threads and its children, living or waited for. 0 when it is gone."""
    return sum(_own_cpu_seconds(one) for one in _family(pid))


def memory(pid: int) -> Memory:
    """Memory of `pid` and its children; their peaks are added up although they may not coincide. 0 when it is gone."""
    found = [_own_memory(one) for one in _family(pid)]
    return Memory(sum(one.rss for one in found), sum(one.peak for one in found))


def forget_peak(pid: int) -> None:
    """From now on the peak of `pid` and its children counts anew; where the kernel does not allow it, it does not."""
    for one in _family(pid):
        try:
            Path(f"/proc/{one}/clear_refs").write_text(_PEAK_FROM_NOW)
        except OSError:
            continue


def disk_bytes(folder: Path) -> int:
    """What the files below `folder` take on the disk, which may be less than they seem long."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue  # a store merges its files while we look
    return total


class Meter:
    """`with Meter({"nats": pid}) as meter: …` and then `meter.usage["nats"].cpu_s`, `meter.wall_s`.

    A process that ends inside is counted up to the last `look`; call it before you stop one.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before: dict[str, float] = {}
        self._began_s = 0.0
        self.usage: dict[str, Usage] = {}
        self.wall_s = 0.0

    def __enter__(self) -> Self:
        for pid in self._pids.values():
            forget_peak(pid)
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        self._began_s = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look()

    def look(self) -> None:
        """Takes the second snapshot now; may be called again."""
        self.wall_s = time.monotonic() - self._began_s
        for name, pid in self._pids.items():
            used_s = cpu_seconds(pid) - self._before[name]
            if used_s >= 0:
                self.usage[name] = Usage(used_s, memory(pid))

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all of them."""
        return sum(usage.cpu_s for usage in self.usage.values())


@dataclass(frozen=True, slots=True)
class Machine:
    """What a benchmark ran on; names neither a host nor a folder.

    load: the 1-minute load before the run. work_ms: CPU milliseconds for one fixed piece of work, the best of five:
    shared machines differ by a factor of two from hour to hour, and CPU seconds with them.
    """

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    nats_server: str
    victoria_metrics: str
    load: float
    work_ms: float
    date: str

    def __str__(self) -> str:
        return (
            f"{self.cores} cores {self.cpu}, {self.memory_gib:.0f} GiB, Linux {self.kernel}, Python {self.python}, "
            f"nats-server {self.nats_server}, VictoriaMetrics {self.victoria_metrics}, "
            f"load before {self.load:.1f}, fixed work {self.work_ms:.0f} ms, {self.date}"
        )


def machine() -> Machine:
    """This machine as it is now; call it before the load begins."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        kernel=platform.release().partition("-")[0],
        python=platform.python_version(),
        nats_server=_version("--version", "nats-server"),
        victoria_metrics=_version("--version", "victoria-metrics", "victoria-metrics-prod"),
        load=os.getloadavg()[0],
        work_ms=min(_fixed_work_ms() for _ in range(5)),
        date=datetime.now(UTC).date().isoformat(),
    )


def _fixed_work_ms() -> float:
    began_s = time.process_time()
    zlib.compress(bytes(range(256)) * 16_384, 6)
    return (time.process_time() - began_s) * 1000


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(option: str, *names: str) -> str:
    try:
        said = subprocess.run([find_program(*names), option], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "not there"
    text = (said.stdout + said.stderr).strip() or _debian_changelog(Path(find_program(*names)))
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found[0] if found else "unknown"


def _debian_changelog(program: Path) -> str:
    """The newest entry of the package that `program` came in; Debian's builds do not say their version themselves."""
    path = program.resolve().parents[1] / "share" / "doc" / program.name / "changelog.Debian.gz"
    try:
        return gzip.decompress(path.read_bytes()).decode(errors="replace").partition("\n")[0]
    except OSError:
        return ""


def _family(pid: int) -> Iterator[int]:
    """`pid` and the children of all its threads, recursively; those that are still there."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _family(int(child))


def _own_cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[place]) for place in (_UTIME, _STIME, _CUTIME, _CSTIME)) / _TICKS_PER_S


def _own_memory(pid: int) -> Memory:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return Memory(0, 0)
    sizes = {name: int(kib) * 1024 for name, kib in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE)}
    return Memory(sizes.get("VmRSS", 0), sizes.get("VmHWM", 0))
