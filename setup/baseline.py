"""RabbitMQ and InfluxDB for `make bench-baseline`: Debian's packages of this machine's own suite, unpacked only.

The published design was built on them. Erlang comes with RabbitMQ, as the packages that it names; everything else that
they need every Debian has. Nothing is installed and no service is started: the benchmark runs them from this folder.
"""

import shutil
from pathlib import Path

from debian_packages import PrivateApt, from_first_source, unpack
from debian_sources import Source
from step import CACHE, Step, StepFailedError, alone, fingerprint, is_made_from, replace_folder, step, stop

HOME = CACHE / "baseline"
STAMP = CACHE / "done" / "baseline"
WORK = CACHE / "apt-baseline"


def fetch(running: Step, source: Source) -> None:
    """Leave both, with Erlang, in HOME. Raises StepFailedError when this source does not have them."""
    fresh = HOME.with_name("baseline.new")
    shutil.rmtree(fresh, ignore_errors=True)
    apt = PrivateApt(running, WORK, source, " ".join(source.suites.split()))
    unpack(running, apt.download("influxdb", *apt.needed_by("rabbitmq-server", "erlang-")), fresh)
    running.run(fresh / "usr" / "bin" / "influxd", "version")
    start_erlang(running, fresh)
    apt.remove()
    replace_folder(fresh, HOME)


def start_erlang(running: Step, root: Path) -> None:
    """See that Erlang runs from where it was unpacked to, which its own start script refuses to."""
    erlang = root / "usr" / "lib" / "erlang"
    binaries = next(erlang.glob("erts-*/bin"), None)
    if binaries is None or not any(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*")):
        raise StepFailedError("the packages do not hold Erlang and RabbitMQ where they are expected")
    environment = {"ROOTDIR": str(erlang), "BINDIR": str(binaries), "EMU": "beam", "PROGNAME": "erl"}
    boot = erlang / "bin" / "start_clean"
    running.run(binaries / "erlexec", "-noinput", "-boot", boot, "-eval", "halt().", env=environment)


def main() -> None:
    """Leave `.cache/baseline/`, which holds what the packages would have installed below /."""
    made_from = fingerprint("influxdb", "rabbitmq-server")
    with alone("baseline"):
        if HOME.exists() and is_made_from(STAMP, made_from):
            return
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            stop("Baseline", "RabbitMQ and InfluxDB 1.x are fetched as Debian's packages, and this machine has no apt")
        with step("Baseline", "RabbitMQ and InfluxDB, packages of 40 MB") as running:
            from_first_source(lambda source: fetch(running, source), "no source of Debian packages is set up here")
            STAMP.parent.mkdir(parents=True, exist_ok=True)
            STAMP.write_text(made_from)


if __name__ == "__main__":
    main()
