"""One run, from the first process to the last comparison."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import nats.errors
from wattfleet_tenants.ledger import Totals
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.testing.waiting import eventually

from wattfleet_bench.chaos.comparison import Comparison, Place, Sent, compare, sent_by
from wattfleet_bench.chaos.homes import Homes, Load, any_acknowledged, chosen, settle_in, waiting
from wattfleet_bench.chaos.kept import KeptProcess
from wattfleet_bench.chaos.outcome import Outcome
from wattfleet_bench.chaos.schedule import Round, Victim, schedule
from wattfleet_bench.chaos.shard import READY_WITHIN_S, Shard, ended
from wattfleet_bench.chaos.wrong_readings import WrongHomes, differences, in_quarantine
from wattfleet_bench.load.outboxes import kept

FLOWS_WITHIN_S = 60.0
DRAINED_WITHIN_S = 120.0
SETTLED_WITHIN_S = 240.0
"""A writer that was killed in the end is followed by one redelivery (60 s) and one hold (20 s)."""

Say = Callable[[str], None]
_TOLD = 3
_NOT_YET = (Unavailable, OSError, TimeoutError, nats.errors.Error)


@dataclass(frozen=True, slots=True)
class Plan:
    """pause_s: how long all run before a kill, least and most. ack_wait_s: after which the broker delivers again."""

    rounds: int
    seed: int
    load: Load
    pause_s: tuple[float, float]
    ack_wait_s: float


class Chaos:
    """Carries out `plan` with everything in `folder`; `say` is told how far it is, in whole lines."""

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._shard = Shard(folder)
        self._homes: list[Homes] = settle_in(plan.load, folder, self._shard.broker, plan.seed)
        self._wrong = WrongHomes(self._shard.broker)
        self._troubles: list[str] = []
        self._kills = 0

    async def run(self) -> Outcome:
        """Leaves no process behind, whatever happens; raises TimeoutError when it cannot begin or not compare."""
        began_s = time.monotonic()
        try:
            load_s = await self._under_load()
            ledger = await self._settled()
            await self._look_into_quarantine(ledger)
            await self._kill_all_for_good()
            comparison = await self._compared()
        except TimeoutError as error:
            raise TimeoutError("; ".join([str(error), *list(_own_ends(self._everything()))[-_TOLD:]])) from error
        finally:
            await ended(self._everything())
        outboxes = [kept(path) for homes in self._homes for path in homes.outboxes.values()]
        return Outcome(
            rounds=self._plan.rounds,
            comparison=comparison,
            ledger=ledger,
            messages=sum(map(len, outboxes)),
            acknowledged=sum(message.acknowledged for messages in outboxes for message in messages),
            wrong=len(self._wrong.sent),
            kills=self._kills,
            own_ends=tuple(_own_ends(self._everything())),
            troubles=tuple(self._troubles),
            took_s=time.monotonic() - began_s,
            load_s=load_s,
        )

    async def _under_load(self) -> float:
        """All rounds; returns how long there was load, in s."""
        households = [household for homes in self._homes for household in homes.households]
        await self._shard.start([*households, self._wrong.household], self._plan.ack_wait_s)
        began_s = time.monotonic()
        for homes in self._homes:
            homes.process.keep()
        await eventually(self._flows, FLOWS_WITHIN_S, "every process of agents has something acknowledged")
        stopping = asyncio.Event()
        wrong = asyncio.create_task(self._wrong.run(stopping))
        try:
            for one in schedule(self._plan.rounds, self._plan.seed, self._plan.pause_s):
                await self._round(one)
            stopping.set()
            await asyncio.wait_for(wrong, FLOWS_WITHIN_S)
        except TimeoutError as error:
            self._troubles.append(str(error) or "wrong readings are not acknowledged")
        finally:
            wrong.cancel()
            await asyncio.gather(wrong, return_exceptions=True)
        return time.monotonic() - began_s

    async def _round(self, one: Round) -> None:
        victims = self._victims(one)
        await asyncio.sleep(one.pause_s)
        killed_s = time.monotonic()
        self._kill(victims)
        if one.again_after_s is not None:
            await asyncio.sleep(one.again_after_s)
            self._kill(victims)
        await self._shard.ready(*self._shard.parts)
        back_s = time.monotonic() - killed_s
        names = one.victim if one.victim is Victim.ALL else ", ".join(victim.name for victim in victims)
        again = "" if one.again_after_s is None else f" and {one.again_after_s:.1f} s later again"
        self._say(
            f"round {one.number:2} of {self._plan.rounds}: {names} killed after {one.pause_s:.1f} s{again}, "
            f"all ready {back_s:.1f} s later; {self._waiting():,} messages wait in outboxes"
        )

    def _victims(self, one: Round) -> Sequence[KeptProcess]:
        agents = [homes.process for homes in self._homes]
        if one.victim is Victim.ALL:
            return [*self._shard.parts.values(), *agents]
        if one.victim is Victim.AGENTS:
            return [homes.process for homes in chosen(self._homes, one.choice)]
        return [self._shard.parts[one.victim]]

    def _kill(self, victims: Sequence[KeptProcess]) -> None:
        for victim in victims:
            self._kills += victim.running
            victim.kill()

    def _flows(self) -> bool:
        return all(any(map(any_acknowledged, homes.outboxes.values())) for homes in self._homes)

    def _waiting(self) -> int:
        return sum(waiting(path) for homes in self._homes for path in homes.outboxes.values())

    async def _settled(self) -> Totals | None:
        """Lets agents send what is left and the writer finish; returns how the accounts stand then."""
        self._say(f"no more load; {self._waiting():,} messages wait in outboxes")
        drained = await asyncio.gather(
            *[homes.drain(DRAINED_WITHIN_S) for homes in self._homes], return_exceptions=True
        )
        for failure in drained:
            if isinstance(failure, TimeoutError):
                self._troubles.append(str(failure))
            elif failure is not None:
                raise failure
        self._say(f"{self._waiting():,} messages are left in outboxes; until the writer has settled everything")
        try:
            settled: Totals | None = await eventually(self._nothing_pending, SETTLED_WITHIN_S, "nothing is pending")
        except TimeoutError as error:
            self._troubles.append(str(error))
            settled = await self._ledger()
        return settled

    async def _nothing_pending(self) -> Totals | None:
        totals = await self._ledger()
        return totals if totals is not None and totals.pending == 0 else None

    async def _ledger(self) -> Totals | None:
        try:
            return await self._shard.ledger()
        except _NOT_YET:
            return None

    async def _look_into_quarantine(self, ledger: Totals | None) -> None:
        found = await in_quarantine(self._shard.broker)
        self._troubles += differences(self._wrong.sent, found)
        if ledger is not None and len(found) != ledger.quarantined:
            self._troubles.append(f"{len(found)} messages are in quarantine, the ledger counts {ledger.quarantined}")

    async def _kill_all_for_good(self) -> None:
        """What is settled is on the disk of the store, or it is nowhere."""
        everything = self._everything()
        self._kills += sum(process.running for process in everything)
        await ended(everything)

    async def _compared(self) -> Comparison:
        store = self._shard.store
        self._shard.parts[Victim.STORE].keep()
        await self._shard.ready(Victim.STORE)
        strangers = _households_in(store.url)
        comparison = Comparison()
        for homes in self._homes:
            comparison += compare(_sent_by(homes), store.export(_selector(homes.households)))
            strangers -= set(homes.households)
        return comparison + compare({}, store.export(_selector(strangers))) if strangers else comparison

    def _everything(self) -> list[KeptProcess]:
        return [*self._shard.parts.values(), *(homes.process for homes in self._homes)]


def _own_ends(processes: Iterable[KeptProcess]) -> Iterator[str]:
    for process in processes:
        yield from (f"{process.name} with code {code}, see {process.log}" for code in process.own_ends)


def _sent_by(homes: Homes) -> Sent:
    sent: dict[Place, Mapping[int, float]] = {}
    for household, outbox in homes.outboxes.items():
        sent |= sent_by(household, (message.readings for message in kept(outbox)))
    return sent


def _selector(households: Iterable[str]) -> str:
    return f'{{household=~"{"|".join(households)}"}}'


def _households_in(store_url: str) -> set[str]:
    answer = httpx.get(f"{store_url}/api/v1/label/household/values", params={"start": "0"}, timeout=READY_WITHIN_S)
    answer.raise_for_status()
    return set(answer.json()["data"])
