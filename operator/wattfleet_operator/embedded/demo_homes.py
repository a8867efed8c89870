"""The homes and people of the demo. Ids and passwords are minted once per installation and kept in its vault.

Passwords are not fixed in the code: the page listens on the loopback address only, but a machine may have other users.
Alice has two homes, so that the page shows how to switch between them; Bob has one that nobody else may see.
"""

import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from wattfleet_tenants.household import HouseholdId, mint_household_id, parse_household_id

from wattfleet_operator.embedded.commands import output_of
from wattfleet_operator.embedded.identity_provider import Person
from wattfleet_operator.embedded.platform import Platform
from wattfleet_operator.ports import Vault


@dataclass(frozen=True, slots=True)
class DemoHome:
    """A simulated home: the agent knows it by `name`, its people by `title`; `owner` signs in as that user."""

    name: str
    title: str
    owner: str
    time_zone: str = "Europe/Paris"

    @property
    def sensor(self) -> str:
        """What its agent measures."""
        return f"simulated:{self.name}"


HOMES = (
    DemoHome("family", "Alice's house", "alice"),
    DemoHome("flat", "City flat", "alice"),
    DemoHome("farm", "Bob's farm", "bob", "Europe/London"),
)
_NAMES = {"alice": "Alice Ampere", "bob": "Bob Becquerel"}


async def demo_people(vault: Vault) -> tuple[Person, ...]:
    """Who can sign in to the demo."""
    return tuple([Person(user, name, await _password(user, vault)) for user, name in _NAMES.items()])


async def demo_households(vault: Vault) -> dict[str, HouseholdId]:
    """The ids of the demo's homes, by their names."""
    return {
        home.name: parse_household_id(await vault.keep(f"demo/{home.name}.household", mint_household_id))
        for home in HOMES
    }


async def start_home(platform: Platform, home: DemoHome, household: HouseholdId, history_days: int) -> str:
    """The home is carried by the platform and its agent runs. Returns the URL of the agent's health and metrics."""
    await platform.add_household(household, home.title, time_zone=home.time_zone)
    return await platform.start_agent(home.name, household, home.sensor, history_days)


async def hand_over(platform: Platform, home: DemoHome, household: HouseholdId, people: Sequence[Person]) -> None:
    """The home belongs to its owner, and its sockets have names."""
    (owner,) = (person for person in people if person.user == home.owner)
    await platform.add_household(household, home.title, owner, await _sockets(home), home.time_zone)


async def _password(user: str, vault: Vault) -> str:
    return await vault.keep(f"people/{user}.password", lambda: f"{secrets.token_hex(3)}-{secrets.token_hex(3)}")


async def _sockets(home: DemoHome) -> list[str]:
    """The names of the sockets of a simulated home, as its agent's own command tells them."""
    command = (sys.executable, "-m", "wattfleet_agent", "sockets", home.sensor)
    names: list[str] = json.loads(await output_of(command, {}))
    return names
