"""The contracts of the ports that exist on one machine and in a cluster: both sides' tests walk through them.

Each function takes an adapter on an empty world and asserts what the port's docstrings promise.
"""

import asyncio
from dataclasses import replace

from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.shard import ShardId

from wattfleet_operator.ports import Homes, Vault


async def vault_keeps_its_promises(vault: Vault) -> None:
    """A text is kept once, until it is replaced or forgotten, whoever asks at the same time."""
    made = iter(f"text {number}" for number in range(1000))
    name = "shards/s1/edge.seed"
    at_once = await asyncio.gather(*[vault.keep(name, lambda: next(made)) for _ in range(10)])
    _require(len(set(at_once)) == 1, "of many that ask at once all get the same text")
    _require(await vault.keep(name, lambda: next(made)) == at_once[0], "a name that is taken keeps its text")
    beside = "shards/s1/ing.seed"
    _require(await vault.keep(beside, lambda: next(made)) != at_once[0], "another name has a text of its own")
    await vault.replace(name, "ü\nreplaced")
    _require(await vault.keep(name, lambda: next(made)) == "ü\nreplaced", "a text is replaced as it is")
    await vault.forget(name)
    await vault.forget(name)
    _require(await vault.keep(name, lambda: "anew") == "anew", "what was forgotten is made anew")
    await vault.forget("nothing/at-all")
    _require(await vault.keep(beside, lambda: "other") != "other", "to forget one name leaves the others")


async def vaults_of_one_place_agree(first: Vault, second: Vault) -> None:
    """What one has stored, another one of the same place answers: an operator after its restart."""
    kept = await first.keep("signing/private.pem", lambda: "minted once")
    _require(await second.keep("signing/private.pem", lambda: "minted twice") == kept, "nothing is minted twice")


async def homes_keep_their_promises(homes: Homes, household: HouseholdId) -> None:
    """A home file is there as it was written, or not at all."""
    _require(await homes.read(household) is None, "there is none at first")
    home = HomeFile(household, ShardId("s1"), ("nats://127.0.0.1:4222",), "creds\n", "key\n", 59_999)
    await homes.write(home)
    _require(await homes.read(household) == home, "it is as it was written")
    await homes.write(home)
    other = replace(home, credentials="renewed\n", servers=("nats://a:1", "nats://b:2"))
    await homes.write(other)
    _require(await homes.read(household) == other, "the last one counts, whole")
    await homes.remove(household)
    await homes.remove(household)
    _require(await homes.read(household) is None, "it is gone")
    await homes.write(home)
    _require(await homes.read(household) == home, "and can come back")


def _require(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(f"broken: {promise}")
