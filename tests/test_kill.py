"""Every process is killed once with SIGKILL while data flows: all come back, nothing is lost or there twice."""

import os
import signal
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest
from running_platform import ALICE, RunningPlatform, started
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.testing.waiting import wait_until
from wattfleet_tenants.wire import codec

HISTORY_DAYS = 30
"""At the pace of one household's quota this flows for longer than the kills take."""
SOCKETS = ("Heat pump", "EV charger", "Kitchen", "Laundry", "Home office", "Fridge")
BACK_WITHIN_S = 60
ALL_STORED_WITHIN_S = 300


@pytest.fixture
def own_platform(tmp_path: Path) -> RunningPlatform:
    with started(tmp_path / "platform") as running:
        yield running


def test_every_process_may_be_killed_while_data_flows(own_platform: RunningPlatform) -> None:
    platform = own_platform
    household = platform.add_home("The robust house", ALICE, SOCKETS)
    platform.start_agent("robust", household, "simulated:family", HISTORY_DAYS)
    outbox = platform.platform.home / "agents" / "robust.outbox.db"
    wait_until(
        lambda: has_tables(outbox) and len(messages(outbox, acknowledged=True)) > 100, BACK_WITHIN_S, "data flows"
    )
    victims = list(platform.processes())
    data_plane = {"nats", "store-s1", "ingest-s1", "writer-s1", "reader-s1"}
    assert set(victims) == data_plane | {"gateway", "ui", "identity", "agent-robust"}
    for name in victims:
        kill_and_wait(platform, name)
    wait_until(
        lambda: not waiting_but_for_the_newest(outbox), ALL_STORED_WITHIN_S, "the agent's whole history is acknowledged"
    )
    sent = values(messages(outbox, acknowledged=True))
    assert sum(map(len, sent.values())) > HISTORY_DAYS * 1440 * len(SOCKETS) * 0.99
    wait_until(lambda: missing(platform, household, sent) == 0, ALL_STORED_WITHIN_S, "everything sent is stored")
    assert stored_but_not_sent(platform, household, outbox) == {}
    assert_a_person_is_served(platform, household)


def kill_and_wait(platform: RunningPlatform, name: str) -> None:
    pid = platform.processes()[name]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: platform.processes()[name]["pid"] not in (None, pid), BACK_WITHIN_S, f"{name} was started again")
    platform.run(platform.platform.supervisor.ready(name, BACK_WITHIN_S), BACK_WITHIN_S + 5)


def has_tables(outbox: Path) -> bool:
    """Whether the agent has come so far as to make its outbox."""
    if not outbox.exists():
        return False
    database = sqlite3.connect(f"file:{outbox}?mode=ro", uri=True, timeout=30)
    try:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages'").fetchall())
    finally:
        database.close()


def messages(outbox: Path, acknowledged: bool | None = None) -> list[tuple[int, bytes]]:
    """What the agent keeps: start of the interval and message, of those that are acknowledged, not, or all."""
    condition = {None: "1", True: "acknowledged_at_ms IS NOT NULL", False: "acknowledged_at_ms IS NULL"}[acknowledged]
    database = sqlite3.connect(f"file:{outbox}?mode=ro", uri=True, timeout=30)
    try:
        return database.execute(f"SELECT interval_start_ms, message FROM messages WHERE {condition}").fetchall()
    finally:
        database.close()


def waiting_but_for_the_newest(outbox: Path) -> bool:
    """Whether more waits than the minutes that the home measures just now."""
    waiting = messages(outbox, acknowledged=False)
    newest = max(start for start, _ in messages(outbox))
    return any(start < newest - 3 * 60_000 for start, _ in waiting)


def values(kept: list[tuple[int, bytes]]) -> dict[str, dict[int, float]]:
    """Per socket, the power in W by time: what the store must hold."""
    series: dict[str, dict[int, float]] = defaultdict(dict)
    for start_ms, message in kept:
        for number, power_w in enumerate(codec.decode(message).power_w, 1):
            if power_w is not None:
                series[str(number)][start_ms] = power_w
    return series


def missing(platform: RunningPlatform, household: HouseholdId, sent: dict[str, dict[int, float]]) -> int:
    stored = platform.stored(household)
    return sum(len(samples.items() - stored.get(socket, {}).items()) for socket, samples in sent.items())


def stored_but_not_sent(
    platform: RunningPlatform, household: HouseholdId, outbox: Path
) -> dict[str, set[tuple[int, float]]]:
    """Socket by socket. The store is asked first: what it holds was in the outbox before."""
    stored = platform.stored(household)
    sent = values(messages(outbox))
    surplus = {socket: samples.items() - sent.get(socket, {}).items() for socket, samples in stored.items()}
    return {socket: samples for socket, samples in surplus.items() if samples}


def assert_a_person_is_served(platform: RunningPlatform, household: HouseholdId) -> None:
    with platform.signed_in(ALICE) as alice:
        now = alice.get(f"/api/v1/households/{household}/readings/now").json()
        assert [socket["name"] for socket in now["sockets"]] == list(SOCKETS)
        assert now["power_w"] is not None
        with alice.stream("GET", f"/api/v1/households/{household}/live") as live:
            lines = live.iter_lines()
            assert any('"source":"live"' in line.replace(" ", "") for line in lines)
