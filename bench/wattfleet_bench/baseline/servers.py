"""RabbitMQ and InfluxDB as programs of a benchmark: unpacked, on free ports of 127.0.0.1, all they keep in one folder.

RabbitMQ's own start script knows only the place where it would be installed, so Erlang is started as that script would:
the same arguments, with its folders named. Erlang's own network between nodes stays shut (no port, and no epmd, the
daemon that Erlang otherwise leaves behind): one node needs none.
"""

import json
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from wattfleet_tenants.testing.programs import Program, free_port

DATABASE = "baseline"

_NODE = "baseline@localhost"
_ERLANG_ALLOCATORS = "+MBas ageffcbf +MHas ageffcbf +MBlmbcs 512 +MHlmbcs 512 +MMmcs 30"
_ERLANG_LIMITS = "+P 1048576 +t 5000000 +stbt db +zdbbl 128000 +sbwt none +sbwtdcpu none +sbwtdio none +B i"
_QUERY_WITHIN_S = 60


class RabbitMq(Program):
    """One broker with the settings it comes with. programs: what `setup/baseline.py` unpacked."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = free_port()
        erlang = programs / "usr" / "lib" / "erlang"
        binaries = next(erlang.glob("erts-*/bin"))
        home = next((programs / "usr" / "lib" / "rabbitmq" / "lib").glob("rabbitmq_server-*"))
        argv = [
            str(binaries / "erlexec"),
            "-noinput",
            *("-sname", _NODE, "-start_epmd", "false", "-dist_listen", "false", "-erl_epmd_port", "1"),
            *("-s", "rabbit", "boot", "-boot", str(erlang / "bin" / "start_sasl"), "+W", "w"),
            *_ERLANG_ALLOCATORS.split(),
            *_ERLANG_LIMITS.split(),
            *("-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"),
        ]
        super().__init__(argv, folder / "rabbitmq.log", lambda: _listens(self.port))
        self.env = {
            **os.environ,
            **{"ROOTDIR": str(erlang), "BINDIR": str(binaries), "EMU": "beam", "PROGNAME": "erl"},
            **{"HOME": str(folder), "ERL_LIBS": str(home / "plugins"), "ERL_CRASH_DUMP": os.devnull},
            "ERL_MAX_ETS_TABLES": "50000",
            "RABBITMQ_HOME": str(home),
            "RABBITMQ_PLUGINS_DIR": str(home / "plugins"),
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_MNESIA_BASE": str(folder / "rabbitmq"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "rabbitmq-plugins"),
        }


class InfluxDb(Program):
    """One store with the settings it comes with; only its own statistics and its line per request are off."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = free_port()
        data = folder / "influxdb"
        settings = folder / "influxdb.conf"
        settings.write_text(f"""
            reporting-disabled = true
            bind-address = "127.0.0.1:{free_port()}"
            [meta]
              dir = "{data}/meta"
            [data]
              dir = "{data}/data"
              wal-dir = "{data}/wal"
            [http]
              bind-address = "127.0.0.1:{self.port}"
              log-enabled = false
            [monitor]
              store-enabled = false
        """)
        argv = [str(programs / "usr" / "bin" / "influxd"), "run", "-config", str(settings)]
        super().__init__(argv, folder / "influxdb.log", self._answers)

    def create_database(self) -> None:
        """Makes the database that everything goes into."""
        self._ask(f"CREATE DATABASE {DATABASE}")

    def query(self, question: str) -> list[dict[str, Any]]:
        """The series of the answer: dictionaries with `columns`, `values` (times in ms) and perhaps `tags`."""
        found: list[dict[str, Any]] = self._ask(question)["results"][0].get("series", [])
        return found

    def _ask(self, question: str) -> Any:
        form = urllib.parse.urlencode({"q": question, "db": DATABASE, "epoch": "ms"}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/query", form, _QUERY_WITHIN_S) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=1):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
