"""Gateways on a real PostgreSQL: several that start at once, and a database that comes and goes."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg
import pytest
from gateway_postgresql import PASSWORD, PostgreSql
from gateway_process import program
from psycopg import sql
from sqlalchemy.exc import OperationalError
from wattfleet_gateway.__main__ import main
from wattfleet_gateway.database import open_database
from wattfleet_gateway.migrations import LOCK
from wattfleet_gateway.sessions import Sessions
from wattfleet_gateway.store import Store
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.testing.programs import Program, free_port
from wattfleet_tenants.testing.waiting import wait_until

SOON_S = 60.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgreSql]:
    """A server that a test may end."""
    server = PostgreSql(tmp_path)
    server.program.start()
    yield server
    server.program.kill()


def readiness(said: dict[str, str]) -> tuple[int, dict[str, str]]:
    """What /readyz answers, and the troubles that it names; 0 while nobody answers."""
    try:
        answer = httpx2.get(f"http://127.0.0.1:{said['WATTFLEET_HEALTH_PORT']}/readyz", timeout=5)
    except httpx2.HTTPError:
        return 0, {}
    return answer.status_code, answer.json()["troubles"]


def is_ready(said: dict[str, str]) -> bool:
    return readiness(said)[0] == 200


def in_trouble(said: dict[str, str]) -> bool:
    status, troubles = readiness(said)
    return status == 503 and troubles.get("database", "starting") != "starting"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_form_of_its_url_leads_to_the_one_driver(postgresql_url: str, scheme: str) -> None:
    engine = open_database(postgresql_url.replace("postgresql", scheme, 1))
    Store(engine).answer()
    assert engine.driver == "psycopg"
    engine.dispose()


def test_of_two_gateways_that_start_at_once_one_makes_the_tables(
    postgresql: PostgreSql, environment: dict[str, str], tmp_path: Path
) -> None:
    url = postgresql.make("for_two")
    (tmp_path / "url").write_text(f"{url}\n")
    del environment["WATTFLEET_DATABASE_URL"]
    environment["WATTFLEET_DATABASE_URL_FILE"] = str(tmp_path / "url")
    other = {**environment, "WATTFLEET_PORT": str(free_port()), "WATTFLEET_HEALTH_PORT": str(free_port())}
    gateways = [
        program(said, tmp_path / f"{name}.log", lambda: True) for name, said in (("one", environment), ("other", other))
    ]
    before = tables_made(postgresql)
    with ExitStack() as closing:
        with psycopg.connect(url) as first:
            first.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            for gateway in gateways:
                gateway.start()
                closing.callback(gateway.kill)
            wait_until(lambda: waiting(first) == 2, SOON_S, "both wait for whoever is at it")
        for said in (environment, other):
            wait_until(lambda said=said: is_ready(said), SOON_S, "each serves")
    assert tables_made(postgresql) == before + 1
    for gateway in gateways:
        assert "Traceback" not in gateway.log.read_text()
        assert PASSWORD not in gateway.log.read_text()


def tables_made(server: PostgreSql) -> int:
    return server.program.log.read_text().count("CREATE TABLE users")


def waiting(connection: psycopg.Connection) -> int:
    (row,) = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()
    return row[0]


def test_a_gateway_waits_for_its_database_and_outlives_it(
    own_server: PostgreSql, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["WATTFLEET_DATABASE_URL"] = url = own_server.make("homes")
    own_server.stop()
    gateway = program(environment, tmp_path / "gateway.log", lambda: True)
    with ExitStack() as closing:
        gateway.start()
        closing.callback(gateway.kill)
        wait_until(lambda: in_trouble(environment), SOON_S, "it says that its database is away")
        own_server.program.start()
        wait_until(lambda: is_ready(environment), SOON_S, "it serves when its database is there")
        browser = closing.enter_context(signed_in(environment, url))
        assert browser.get("/api/v1/viewer").json()["name"] == "Alice"
        own_server.stop()
        answer = browser.get("/api/v1/viewer")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "127.0.0.1" not in answer.text
        wait_until(lambda: in_trouble(environment), SOON_S, "it says that its database is away")
        own_server.program.start()
        wait_until(lambda: is_ready(environment), SOON_S, "it goes on by itself")
        assert browser.get("/api/v1/viewer").json()["name"] == "Alice"
    assert_told_without_password(gateway)


def signed_in(said: dict[str, str], url: str) -> httpx2.Client:
    engine = open_database(url)
    store = Store(engine)
    cookie = Sessions(store).start(store.ensure_user(said["WATTFLEET_OIDC_ISSUER"], "alice", "Alice"), "")
    engine.dispose()
    return httpx2.Client(
        base_url=said["WATTFLEET_PUBLIC_URL"], cookies={"wattfleet_session": cookie}, trust_env=False, timeout=10
    )


def assert_told_without_password(gateway: Program) -> None:
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    told = [line for line in lines if line["message"] == "database unavailable"]
    assert any("Connection refused" in line["error"] for line in told)
    assert PASSWORD not in gateway.log.read_text()


def test_a_server_that_says_nothing_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_database(f"postgresql://me:sesame@127.0.0.1:{silent.getsockname()[1]}/homes")
        began_s = time.monotonic()
        with pytest.raises(OperationalError, match="timeout"):
            Store(engine).answer()
        assert time.monotonic() - began_s < SOON_S
        engine.dispose()


def test_a_server_that_only_reads_is_not_taken_for_the_database(postgresql: PostgreSql, postgresql_url: str) -> None:
    database = sql.Identifier(postgresql_url.rpartition("/")[2])
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
    engine = open_database(postgresql_url)
    with pytest.raises(OperationalError, match="read-only"):
        Store(engine).answer()
    engine.dispose()


def test_a_connection_that_the_server_ended_is_replaced_unseen(postgresql: PostgreSql, postgresql_url: str) -> None:
    engine = open_database(postgresql_url)
    store = Store(engine)
    store.answer()
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [postgresql_url.rpartition("/")[2]],
        )
        assert ended.fetchall() == [(True,)]
    store.answer()
    engine.dispose()


def test_a_wrong_password_is_told_and_not_repeated(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WATTFLEET_DATABASE_URL", postgresql_url.replace(PASSWORD, "another-word"))
    owner = ("--owner-issuer", "https://id.example", "--owner-subject", "alice")
    assert main(["household", "add", "--id", mint_household_id(), "--name", "Ours", *owner]) == 1
    said = capsys.readouterr().err
    assert "password authentication failed" in said
    assert "another-word" not in said
