"""The whole platform in a thread of its own, so that tests are written as a person acts: one step after the other."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families
from wattfleet_e2e.people import signed_in
from wattfleet_operator.embedded.platform import Parts, Person, Platform
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.series import POWER

Outcome = TypeVar("Outcome")

ALICE = Person("alice", "Alice Ampere", "alice-test-password")
BOB = Person("bob", "Bob Becquerel", "bob-test-password")
_START_WITHIN_S = 180


@dataclass(frozen=True)
class Homes:
    """Alice has two homes, Bob has one; each has an agent that measures."""

    alice_house: HouseholdId
    alice_flat: HouseholdId
    bob_farm: HouseholdId


@dataclass
class RunningPlatform:
    """A started platform and the event loop that it runs on."""

    platform: Platform
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.platform.url

    def run(self, work: Coroutine[Any, Any, Outcome], within_s: float = 60) -> Outcome:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(within_s)

    def add_home(
        self, title: str, owner: Person, sockets: Sequence[str], time_zone: str = "Europe/Paris"
    ) -> HouseholdId:
        household = mint_household_id()
        self.run(self.platform.add_household(household, title, owner, sockets, time_zone))
        return household

    def home_file(self, household: HouseholdId) -> Path:
        return self.run(self.platform.home_file(household, within_s=60), within_s=70)

    def start_agent(self, name: str, household: HouseholdId, sensor: str, history_days: int = 0) -> str:
        self.home_file(household)
        return self.run(self.platform.start_agent(name, household, sensor, history_days))

    def signed_in(self, person: Person) -> AbstractContextManager[httpx.Client]:
        return signed_in(self.url, person.user, person.password)

    def processes(self) -> dict[str, dict[str, Any]]:
        """Per name, the pid, url and restarts of each process, as the supervisor records them."""
        return {p["name"]: p for p in json.loads((self.platform.home / "processes.json").read_text())}

    def metric(self, process: str, name: str) -> float:
        """The sum of a metric's values over its labels, as `process` tells it now."""
        answer = httpx.get(f"{self.processes()[process]['url']}/metrics")
        families = text_string_to_metric_families(answer.raise_for_status().text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def stored(self, household: HouseholdId) -> dict[str, dict[int, float]]:
        """Per socket, every sample that the store gives out: power in W by its time in ms, no moment twice."""
        answer = httpx.get(
            f"{self.processes()['store-s1']['url']}/api/v1/export",
            params={"match[]": f'{POWER}{{household="{household}"}}'},
            timeout=60,
        )
        answer.raise_for_status()
        return dict(_samples(answer.text))


def _samples(exported: str) -> Iterator[tuple[str, dict[int, float]]]:
    for line in exported.splitlines():
        series = json.loads(line)
        times, values = series["timestamps"], series["values"]
        assert len(set(times)) == len(times), f"{series['metric']} holds a moment twice"
        yield series["metric"]["socket"], dict(zip(times, values, strict=True))


@contextmanager
def started(home: Path) -> Iterator[RunningPlatform]:
    """Everything, in the folder `home`, for Alice and Bob; stopped at the end."""
    loop, up, down = asyncio.new_event_loop(), Future[Platform](), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(home, up, down),), name="platform")
    thread.start()
    try:
        yield RunningPlatform(up.result(_START_WITHIN_S), loop)
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join()
        loop.close()


async def _serve(home: Path, up: Future[Platform], down: asyncio.Event) -> None:
    try:
        async with Platform(home, parts=Parts.EVERYTHING, people=(ALICE, BOB)) as platform:
            up.set_result(platform)
            await down.wait()
    except Exception as error:
        if up.done():
            raise
        up.set_exception(error)
