"""The whole platform and its supervisor are killed at one moment under load; the next start has all that was promised.

Promised is what an agent holds as acknowledged. After the start it is in the store, or still in the broker's streams,
from where the writer gets it again; that it then does is what `wattfleet_bench.chaos` shows: it takes a minute more.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from killable_platform import AGENT, SOCKETS
from nats.js.errors import NotFoundError
from running_platform import ALICE, RunningPlatform, started
from test_kill import (
    BACK_WITHIN_S,
    has_tables,
    messages,
    missing,
    stored_but_not_sent,
    values,
)
from wattfleet_operator.adapters.nats_connections import NatsConnections
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.subjects import Lane, bundle_stream
from wattfleet_tenants.testing.waiting import wait_until
from wattfleet_tenants.wire import bundle

SHARD = ShardId("s1")
PROGRAM = Path(__file__).with_name("killable_platform.py")


def test_everything_may_be_killed_at_once_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    home = tmp_path / "platform"
    outbox = home / "agents" / f"{AGENT}.outbox.db"
    with running_elsewhere(home) as (supervisor, household):
        wait_until(
            lambda: has_tables(outbox) and len(messages(outbox, acknowledged=True)) > 2_000, BACK_WITHIN_S, "data flows"
        )
        assert kill_all(supervisor) > 8
    promised = messages(outbox, acknowledged=True)
    assert messages(outbox, acknowledged=False), "it was killed under load"
    with started(home) as platform:
        in_streams = platform.run(messages_in_streams(platform))
        stored = [(start_ms, message) for start_ms, message in promised if message not in in_streams]
        assert missing(platform, household, values(stored)) == 0
        assert len(stored) < len(promised), "it was killed before all was stored"
        assert stored_but_not_sent(platform, household, outbox) == {}
        assert_its_owner_still_sees_it(platform, household)


async def messages_in_streams(platform: RunningPlatform) -> set[bytes]:
    """What waits to be stored, in both lanes; looked at before the store, as what leaves a stream is in the store."""
    ports = {name: process["port"] for name, process in platform.processes().items()}
    identities = NatsIdentities(platform.platform.vault)
    connections = NatsConnections((f"nats://127.0.0.1:{ports['nats']}",), identities)
    found: set[bytes] = set()
    try:
        async with connections.jetstream(SHARD) as js:
            for lane in Lane:
                stream = bundle_stream(SHARD, lane)
                state = (await js.stream_info(stream)).state
                for position in range(max(1, state.first_seq), state.last_seq + 1):
                    with suppress(NotFoundError):  # settled in the meantime
                        kept = await js.get_msg(stream, position, direct=True)
                        found.update(message for _, message in bundle.decode(kept.data or b"").each())
    finally:
        await connections.close()
    return found


def assert_its_owner_still_sees_it(platform: RunningPlatform, household: HouseholdId) -> None:
    with platform.signed_in(ALICE) as alice:
        now = alice.get(f"/api/v1/households/{household}/readings/now").raise_for_status().json()
        assert [socket["name"] for socket in now["sockets"]] == list(SOCKETS)


@contextmanager
def running_elsewhere(home: Path) -> Iterator[tuple[psutil.Process, HouseholdId]]:
    """A platform in `home` with a supervisor of its own, and the household whose agent sends its history to it."""
    log = home.with_name("platform.log")
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(home)], stdout=subprocess.PIPE, stderr=file)
    supervisor = psutil.Process(process.pid)
    try:
        assert process.stdout is not None
        said = process.stdout.readline().decode().strip()
        assert said, log.read_text()[-2000:]
        yield supervisor, parse_household_id(said)
    finally:
        kill_all(supervisor)
        process.communicate()


def kill_all(supervisor: psutil.Process) -> int:
    """SIGKILL for the supervisor and everything below it; returns how many processes that were."""
    if not supervisor.is_running():
        return 0
    supervisor.suspend()  # so that it starts nothing more while it is being killed
    everything = [supervisor, *supervisor.children(recursive=True)]
    for process in everything:
        with suppress(psutil.NoSuchProcess):  # those that are tied to the supervisor die with it
            process.kill()
    psutil.wait_procs(everything, timeout=BACK_WITHIN_S)
    return len(everything)
