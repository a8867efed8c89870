"""Homes whose agents are processes of their own, and can be killed like everything else.

Most live through a past that passes faster, many to a process, so that there is load all the time. Some are agents as
at home, one to a process: they send a month of history as fast as they may, and live minutes beside it.
"""

import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wattfleet_tenants.home_file import write_home_file
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually

from wattfleet_bench.chaos.kept import KeptProcess
from wattfleet_bench.load.agent import outbox_path
from wattfleet_bench.load.rung import write_homes

_SOCKETS = 6
_RAMP_MS = 1_000
_LAST_MEASURING_S = 2.0
"""Every agent has started by then; a load whose measuring is over ends as soon as those that have started are done."""


@dataclass(frozen=True, slots=True)
class Load:
    """groups: processes of `agents` agents each, for which a minute takes `interval_s`. at_home: processes with one
    agent each, which sends `history_days` days of its past."""

    groups: int
    agents: int
    interval_s: float
    at_home: int
    history_days: int

    @property
    def messages_per_s(self) -> float:
        """What comes without history."""
        return self.groups * self.agents / self.interval_s


class Group:
    """`load.agents` agents of the load generator in one process; everything of them lies in `folder`."""

    def __init__(self, name: str, load: Load, folder: Path, broker: ShardBroker, seed: int) -> None:
        self.households = [mint_household_id() for _ in range(load.agents)]
        self.outboxes = {household: outbox_path(folder, household) for household in self.households}
        write_homes(broker, self.households, folder / "homes")
        self._argv = [sys.executable, "-m", "wattfleet_bench.load", "--agents", str(load.agents), "--seed", str(seed)]
        self._argv += ["--homes", str(folder / "homes"), "--folder", str(folder), "--interval", str(load.interval_s)]
        self._argv += ["--sockets", str(_SOCKETS), "--max-delay", str(_RAMP_MS), "--step", str(_RAMP_MS // 4)]
        self._folder = folder
        self.process = KeptProcess(name, self._argv, _environment(), folder / "load.log")

    async def drain(self, within_s: float) -> None:
        """Measures some minutes more and sends all that is left; raises TimeoutError when some is left nevertheless."""
        await self.process.end()
        last_run = KeptProcess(
            f"{self.process.name}, the rest",
            [*self._argv, "--max-delay", "0", "--duration", str(_LAST_MEASURING_S), "--drain", str(within_s)],
            _environment(),
            self._folder / "drain.log",
        )
        await _until_empty(last_run, self.outboxes, within_s)


class AgentAtHome:
    """One agent, as it runs at home, with a simulated sensor; everything of it lies in `folder`."""

    def __init__(self, name: str, load: Load, folder: Path, broker: ShardBroker) -> None:
        household = mint_household_id()
        self.households = [household]
        self.outboxes = {household: folder / "outbox.db"}
        write_home_file(folder / "home.json", broker.home_file(household))
        self._argv = [sys.executable, "-m", "wattfleet_agent", "run", "--home", str(folder / "home.json")]
        self._argv += ["--outbox", str(folder / "outbox.db"), "--sensor", "simulated:family"]
        self._folder = folder
        with_history = [*self._argv, "--history", str(load.history_days)]
        self.process = KeptProcess(name, with_history, _environment(), folder / "agent.log")

    async def drain(self, within_s: float) -> None:
        """Fills in no more history and sends what is left; raises TimeoutError when some is left nevertheless."""
        await self.process.end()
        last_run = KeptProcess(f"{self.process.name}, the rest", self._argv, _environment(), self._folder / "drain.log")
        await _until_empty(last_run, self.outboxes, within_s)


Homes = Group | AgentAtHome


def settle_in(load: Load, folder: Path, broker: ShardBroker, seed: int) -> list[Homes]:
    """All homes of `load`, with nothing running yet."""
    homes: list[Homes] = []
    for number in range(1, load.groups + 1):
        name = f"agents-{number}"
        (folder / name).mkdir()
        homes.append(Group(name, load, folder / name, broker, seed + number))
    for number in range(1, load.at_home + 1):
        name = f"agent-at-home-{number}"
        (folder / name).mkdir()
        homes.append(AgentAtHome(name, load, folder / name, broker))
    return homes


def chosen(homes: Sequence[Homes], choice: float) -> Sequence[Homes]:
    """By `choice` from 0 to 1, one of `homes` or all of them."""
    which = int(choice * (len(homes) + 1))
    return [homes[which]] if which < len(homes) else homes


def waiting(outbox: Path) -> int:
    """How many messages in the file `outbox` are not acknowledged; 0 while there is none."""
    return _first(outbox, "SELECT count(*) FROM messages WHERE acknowledged_at_ms IS NULL")


def any_acknowledged(outbox: Path) -> bool:
    """Whether a message in the file `outbox` is acknowledged."""
    return bool(_first(outbox, "SELECT EXISTS (SELECT 1 FROM messages WHERE acknowledged_at_ms IS NOT NULL)"))


def _first(outbox: Path, question: str) -> int:
    if not outbox.exists():
        return 0
    with closing(sqlite3.connect(f"{outbox.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as database:
        try:
            (answer,) = database.execute(question).fetchone()
        except sqlite3.OperationalError:  # its agent has not made its tables yet
            return 0
    return int(answer)


async def _until_empty(process: KeptProcess, outboxes: dict[HouseholdId, Path], within_s: float) -> None:
    def empty() -> bool:
        return not any(map(waiting, outboxes.values()))

    try:
        while True:
            process.keep()
            await eventually(empty, within_s, f"{process.name}: all is acknowledged")
            await process.end()
            if empty():  # a home that measures may have added a minute at the last moment
                return
    finally:
        await process.end()


def _environment() -> dict[str, str]:
    return {**os.environ, "WATTFLEET_LOG_LEVEL": os.environ.get("WATTFLEET_LOG_LEVEL", "INFO")}
