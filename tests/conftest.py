"""One whole platform for the tests that only look at it; those that break things start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_platform import ALICE, BOB, Homes, RunningPlatform, started
from wattfleet_tenants.testing.waiting import wait_until

HISTORY_DAYS = 2
HISTORY_WITHIN_S = 120


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with started(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="session")
def homes(platform: RunningPlatform) -> Homes:
    """Three simulated homes with a history of two days."""
    sockets = ("Heat pump", "EV charger", "Kitchen", "Laundry", "Home office", "Fridge")
    homes = Homes(
        platform.add_home("Alice's house", ALICE, sockets),
        platform.add_home("Alice's flat", ALICE, ("Alice's lamp", "Alice's heater", "Alice's cooker", "Alice's desk")),
        platform.add_home("Bob's farm", BOB, tuple(f"Bob's machine {n}" for n in range(1, 9)), "Europe/London"),
    )
    platform.start_agent("house", homes.alice_house, "simulated:family", HISTORY_DAYS)
    platform.start_agent("flat", homes.alice_flat, "simulated:flat", HISTORY_DAYS)
    platform.start_agent("farm", homes.bob_farm, "simulated:farm", HISTORY_DAYS)
    minutes = HISTORY_DAYS * 24 * 60 - 5
    for household in (homes.alice_house, homes.alice_flat, homes.bob_farm):
        wait_until(
            lambda household=household: len(platform.stored(household).get("1", ())) > minutes,
            HISTORY_WITHIN_S,
            f"the history of {household}",
        )
    return homes


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Where screenshots are kept for people to look at."""
    folder = Path(__file__).parents[1] / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
