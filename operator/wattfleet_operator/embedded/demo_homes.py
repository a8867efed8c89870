"""The homes and people of the demo. Ids and passwords are minted once per installation and kept in its vault.

Passwords are not fixed in the code: the page listens on the loopback address only, but a machine may have other users.
Alice has two homes, so that the page shows how to switch between them; Bob has one that nobody else may see.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from wattfleet_tenants.household import HouseholdId, mint_household_id, parse_household_id

from wattfleet_operator.embedded.identity_provider import Person
from wattfleet_operator.embedded.platform import Platform
from wattfleet_operator.embedded.programs import CannotStart
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


async def create_homes(platform: Platform, people: Sequence[Person]) -> dict[str, HouseholdId]:
    """The demo's households are wished for and belong to their people. Returns their ids by the homes' names."""
    owners = {person.user: person for person in people}
    households = {}
    for home in HOMES:
        household = parse_household_id(await platform.vault.keep(f"demo/{home.name}.household", mint_household_id))
        sockets = await _sockets(home)
        await platform.add_household(household, home.title, owners[home.owner], sockets, home.time_zone)
        households[home.name] = household
    return households


async def _password(user: str, vault: Vault) -> str:
    return await vault.keep(f"people/{user}.password", lambda: f"{secrets.token_hex(3)}-{secrets.token_hex(3)}")


async def _sockets(home: DemoHome) -> list[str]:
    """The names of the sockets of a simulated home, as its agent's own command tells them."""
    call = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wattfleet_agent", "sockets", home.sensor), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await call.communicate()
    if call.returncode:
        raise CannotStart(f"the agent does not know the simulated home {home.name!r}")
    names: list[str] = json.loads(out)
    return names
