"""A real PostgreSQL server on a free port, whose people come with a password, and databases in it.

PostgreSQL refuses to run as root. Where tests run as root it runs as nobody, with the one right of root's that lets it
into folders which only root may open, such as a checkout of root's and what lies in pytest's.
"""

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

PROGRAMS = Path(__file__).parents[2] / ".cache" / "postgresql" / "bin"
STOPS_WITHIN_S = 30
USER, PASSWORD = "wattfleet", "sesame-7f3k"
_AS_NOBODY = (
    "setpriv", "--reuid=nobody", "--regid={group}", "--clear-groups", "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override", "--pdeathsig=KILL", "--",
)  # fmt: skip
# What a test's database forgets in a power cut nobody misses; what it said is committed outlives its own sudden end.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "log_statement": "ddl",
}


class PostgreSql:
    """A server with its data in `folder`, which it makes; `program` starts and ends it."""

    def __init__(self, folder: Path) -> None:
        if not (PROGRAMS / "postgres").exists():
            pytest.skip("PostgreSQL's server is not there: `make test` or `python3 setup/postgresql.py` fetches it")
        self.port = free_port()
        self._data = folder / "data"
        self._make_data(folder)
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        command = (PROGRAMS / "postgres", "-D", self._data, "-p", self.port, *settings)
        self.program = Program(_not_as_root(*command), folder / "server.log", self._answers)

    def url(self, database: str) -> str:
        """Where that database is, as an admin would write it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str, like: str = "template1") -> str:
        """A new database, a copy of `like`; returns its URL."""
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            wanted = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(database), sql.Identifier(like))
            connection.execute(wanted)
        return self.url(database)

    def stop(self) -> None:
        """Ends it at once, whoever is connected."""
        os.kill(self.program.pid, signal.SIGQUIT)
        wait_until(lambda: not self.program.running, STOPS_WITHIN_S, "PostgreSQL ends")

    def _make_data(self, folder: Path) -> None:
        self._data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._data, nobody.pw_uid, nobody.pw_gid)
        wanted = ("--username", USER, "--pwfile", password, "--auth=scram-sha-256", "--no-locale", "--encoding=UTF8")
        command = _not_as_root(PROGRAMS / "initdb", "-D", self._data, "--no-sync", *wanted)
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if made.returncode != 0:
            raise RuntimeError(f"initdb: {made.stdout}{made.stderr}")

    def _answers(self) -> bool:
        try:
            with closing(psycopg.connect(self.url("postgres"), connect_timeout=2)):
                return True
        except psycopg.OperationalError:
            return False


def _not_as_root(*command: object) -> list[str]:
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv (util-linux)")
    return [word.format(group=pwd.getpwnam("nobody").pw_gid) for word in _AS_NOBODY] + words
