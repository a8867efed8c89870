"""What is remembered: sessions that end in time, homes, names; on SQLite and PostgreSQL alike."""

import stat
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select
from wattfleet_gateway.__main__ import main
from wattfleet_gateway.database import open_database
from wattfleet_gateway.migrations import migrate
from wattfleet_gateway.sessions import IDLE_S, LIFETIME_S, Sessions
from wattfleet_gateway.store import METADATA, Membership, SessionRow, Store
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.socket import parse_socket_number


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    yield from store_in(url)


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Store]:
    yield from store_in(sqlite_url)


def store_in(url: str) -> Iterator[Store]:
    engine = open_database(url)
    yield Store(engine)
    engine.dispose()


def test_the_migrations_end_at_the_models(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_migrating_again_changes_nothing(store: Store) -> None:
    store.ensure_user("issuer", "alice")
    migrate(store.engine)
    assert store.ensure_user("issuer", "alice") == 1


class Killed(BaseException):
    """The gateway ended at this statement."""


@pytest.mark.parametrize("last", ["CREATE TABLE users", "CREATE TABLE sightings", "SET version_num='0003'"])
def test_a_gateway_that_was_killed_while_it_made_its_tables_makes_them_the_next_time(tmp_path: Path, last: str) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")

    def kill(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if last in statement:
            raise Killed

    event.listen(engine, "after_cursor_execute", kill)
    with pytest.raises(Killed):
        migrate(engine)
    event.remove(engine, "after_cursor_execute", kill)
    migrate(engine)
    assert set(METADATA.tables) < set(inspect(engine).get_table_names())
    engine.dispose()


def test_tables_of_a_newer_wattfleet_are_left_alone_and_it_is_said(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.engine.begin() as newer:
        newer.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    monkeypatch.setenv("WATTFLEET_DATABASE_URL", url)
    assert main([*ADD, "alice", "--id", mint_household_id()]) == 2
    assert "was brought up to date by a newer Wattfleet" in capsys.readouterr().err


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "gateway.db"
    open_database(f"sqlite:///{path}").dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_session_ends_when_nobody_uses_it(store: Store) -> None:
    clock = Clock()
    sessions = Sessions(store, clock)
    cookie = sessions.start(store.ensure_user("issuer", "alice"), "token")
    for _ in range(3):
        clock.now_s += IDLE_S - 1
        assert sessions.find(cookie)
    clock.now_s += IDLE_S
    assert sessions.find(cookie) is None


def test_a_session_ends_when_it_is_old_however_often_it_is_used(store: Store) -> None:
    clock = Clock()
    sessions = Sessions(store, clock)
    cookie = sessions.start(store.ensure_user("issuer", "alice"), "token")
    began_s = clock.now_s
    while clock.now_s < began_s + LIFETIME_S - 86_400:
        clock.now_s += 86_400
        assert sessions.find(cookie)
    clock.now_s = began_s + LIFETIME_S
    assert sessions.find(cookie) is None


def test_sessions_that_are_over_are_removed_with_the_next_sign_in(store: Store) -> None:
    clock = Clock()
    sessions = Sessions(store, clock)
    user = store.ensure_user("issuer", "alice")
    sessions.start(user, "token")
    clock.now_s += LIFETIME_S
    sessions.start(user, "token")
    with Session(store.engine) as session:
        assert len(session.exec(select(SessionRow)).all()) == 1


def test_no_cookie_is_written_down(sqlite: Store, sqlite_url: str) -> None:
    cookie = Sessions(sqlite).start(sqlite.ensure_user("issuer", "alice"), "token")
    sqlite.engine.dispose()
    for file in Path(sqlite_url.removeprefix("sqlite:///")).parent.iterdir():
        assert cookie.encode() not in file.read_bytes()


@pytest.mark.parametrize("cookie", [None, "", "nonsense", "ü", "a" * 10_000])
def test_any_other_cookie_is_no_session(store: Store, cookie: str | None) -> None:
    assert Sessions(store).find(cookie) is None
    assert Sessions(store).end(cookie) is None


def test_a_person_who_signs_in_twice_at_once_is_one_person(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: store.ensure_user("issuer", "alice", "Alice"), range(32)))) == 1


def test_a_name_is_kept_when_the_provider_tells_none(store: Store) -> None:
    user = store.ensure_user("issuer", "alice", "Alice Ampere")
    assert store.ensure_user("issuer", "alice") == user
    sessions = Sessions(store)
    found = sessions.find(sessions.start(user, ""))
    assert found is not None
    assert found.name == "Alice Ampere"


ADD = ("household", "add", "--name", "Alice's house", "--owner-issuer", "https://id.example", "--owner-subject")


def test_a_household_is_added_again_without_harm(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WATTFLEET_DATABASE_URL", url)
    household = mint_household_id()
    for owner in ("alice", "alice", "bob"):
        assert main([*ADD, owner, "--id", household, "--sockets", "Heat pump, EV charger"]) == 0
        assert f"{household} (Alice's house): {owner} of https://id.example" in capsys.readouterr().out
    store.name_socket(household, parse_socket_number(2), "Lucy's car")
    assert main([*ADD, "alice", "--id", household, "--sockets", "Heat pump, EV charger"]) == 0
    alice = store.ensure_user("https://id.example", "alice")
    (row,) = store.households_of(alice)
    assert (row.id, row.name) == (household, "Alice's house")
    assert store.socket_names(household) == {1: "Heat pump", 2: "Lucy's car"}
    with Session(store.engine) as session:
        assert len(session.exec(select(Membership)).all()) == 2


@pytest.mark.parametrize("wrong", ["*", "", "h", "H7M2K9X4Q8W1Z5T3B", "h7m2k9x4q8w1z5t3b.x"])
def test_a_household_id_that_is_none_is_refused_at_the_door(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setenv("WATTFLEET_DATABASE_URL", url)
    assert main([*ADD, "alice", "--id", wrong]) == 2
    assert "is not a household id" in capsys.readouterr().err


def test_a_missing_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WATTFLEET_DATABASE_URL", raising=False)
    monkeypatch.delenv("WATTFLEET_SECRET_FILE", raising=False)
    assert main([*ADD, "alice", "--id", mint_household_id()]) == 2
    assert capsys.readouterr().err == "wattfleet_gateway: WATTFLEET_DATABASE_URL is not set\n"
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "wattfleet_gateway: WATTFLEET_SECRET_FILE is not set\n"


def test_references_are_kept_and_an_error_tells_no_values(store: Store) -> None:
    row = SessionRow(id="x", user_id=99, id_token="a person's token", seen_at_s=0, expires_at_s=0)
    with Session(store.engine) as session:
        session.add(row)
        with pytest.raises(IntegrityError) as refused:
            session.commit()
    assert "foreign key" in str(refused.value).lower()
    assert "a person's token" not in str(refused.value)


def test_two_gateways_give_one_person_no_more_homes_than_allowed(store: Store, url: str) -> None:
    beside = open_database(url)
    alice, bob = (store.ensure_user("issuer", name) for name in ("alice", "bob"))

    def wish(number: int) -> bool:
        gateway, owner = (store, Store(beside))[number % 2], (alice, bob)[number % 3 == 0]
        return gateway.wish_household(mint_household_id(), "A home", owner, "Europe/Paris", 0, most=3)

    with ThreadPoolExecutor(16) as threads:
        granted = sum(threads.map(wish, range(60)))
    beside.dispose()
    assert (granted, store.household_count(alice), store.household_count(bob)) == (6, 3, 3)


def test_one_name_given_by_many_at_once_is_one_row(store: Store) -> None:
    household, alice = mint_household_id(), store.ensure_user("issuer", "alice")

    def name(number: int) -> None:
        store.ensure_household(household, "Our house", alice)
        store.name_socket(household, parse_socket_number(1), f"Lamp {number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(name, range(32)))
    assert list(store.socket_names(household)) == [1]
    assert store.household_count(alice) == 1


def test_a_session_that_ends_while_it_is_used_is_no_error(store: Store) -> None:
    clock = Clock()
    sessions = Sessions(store, clock)
    alice = store.ensure_user("issuer", "alice")
    for _ in range(10):
        cookie = sessions.start(alice, "token")
        clock.now_s += 60
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda use, cookie=cookie: use(cookie), [sessions.find, sessions.end]))
        assert sessions.find(cookie) is None


WRONG_URLS = [
    ("postgresql+psycopg2://me:sesame@db/homes", "names none that the gateway can use"),
    ("mysql://me:sesame@db/homes", "names none that the gateway can use"),
    ("postgresql://me:open@sesame@db/homes", "write one that belongs to the password as %40"),
    ("postgresql://me:open@x/sesame@db/homes", "write one that belongs to the password as %40"),
    ("postgresql://me@db:sesame/homes", "cannot be read"),
    ("sesame", "cannot be read"),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG_URLS)
def test_a_database_that_cannot_be_is_refused_without_telling_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str, sentence: str
) -> None:
    monkeypatch.setenv("WATTFLEET_DATABASE_URL", wrong)
    assert main([*ADD, "alice", "--id", mint_household_id()]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "sesame" not in said
    with pytest.raises(ValueError, match="database's URL") as refused:
        open_database(wrong)
    assert "sesame" not in "".join(traceback.format_exception(refused.value))
