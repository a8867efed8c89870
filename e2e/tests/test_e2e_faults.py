"""What goes wrong while the operator works, each as it really happens; afterwards everything is as wished.

The operator dies between any two of its outside calls, the API server is killed, somebody writes a Secret at the same
moment, the broker is away, clocks are wrong. What a watch goes through is told beside this.
"""

import asyncio
import base64
import json
from datetime import timedelta

import httpx2
import pytest
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.faulty import WITHIN_S, Faulty
from wattfleet_e2e.kube_api import KubeApi
from wattfleet_e2e.seeing import seen
from wattfleet_tenants.household import mint_household_id


class Dies(httpx2.AsyncHTTPTransport):
    """Counts what is asked of the API server; at the call of number `at` the operator dies, after or instead of it."""

    def __init__(self, cluster: KubeApi) -> None:
        super().__init__(verify=cluster.trusted())
        self.calls: list[str] = []
        self.at: int | None = None
        self.done_before = False
        self.dead = asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        dies = len(self.calls) == self.at
        self.calls.append(f"{request.method} {request.url.path}")
        if dies and not self.done_before:
            await self._die()
        response = await super().handle_async_request(request)
        if dies:
            await response.aread()
            await self._die()
        return response

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


async def test_whoever_follows_an_operator_that_died_at_any_call_finishes_the_birth(faulty: Faulty) -> None:
    undisturbed = Dies(faulty.cluster)
    async with faulty.operator(undisturbed):
        await _born(faulty)
        before = len(undisturbed.calls)
        await _born(faulty)
        births = [call for call in undisturbed.calls[before:] if "shards/" not in call]
    assert 3 <= len(births) <= 6, births
    for number in range(len(births)):
        for done_before in (False, True):
            await _dies_and_is_followed(faulty, number, done_before)


async def _born(faulty: Faulty) -> None:
    """With the first one, an operator has learnt all that it asks for but once."""
    await faulty.is_ready(faulty.wish(mint_household_id(), deletionPolicy="Retain"))


async def _dies_and_is_followed(faulty: Faulty, number: int, done_before: bool) -> None:
    transport = Dies(faulty.cluster)
    async with faulty.operator(transport):
        await _born(faulty)
        transport.done_before, transport.at = done_before, len(transport.calls) + number
        household = faulty.wish(mint_household_id(), deletionPolicy="Retain")
        async with asyncio.timeout(WITHIN_S):
            await transport.dead.wait()
    handed_out = faulty.credentials(household)
    async with faulty.operator():
        await faulty.is_ready(household)
    assert faulty.credentials(household) is not None
    assert handed_out in (None, faulty.credentials(household)), "a credential that is there is not minted again"


@pytest.mark.needs(Capability.PROCESS_CONTROL)
async def test_a_killed_api_server_delays_everything_and_loses_nothing(faulty: Faulty) -> None:
    first, second = mint_household_id(), mint_household_id()
    async with faulty.operator():
        await faulty.is_ready(faulty.wish(first))
        credentials = faulty.credentials(first)
        faulty.wish(second)
        faulty.cluster.api_server.kill()
        faulty.cluster.api_server.start()  # not in a thread: it would end with that
        await faulty.is_ready(second)
        third = faulty.wish(mint_household_id())
        await faulty.is_ready(third)
    assert faulty.credentials(first) == credentials


async def test_a_secret_that_somebody_writes_at_the_same_moment_keeps_both_changes(faulty: Faulty) -> None:
    """Kubernetes answers 409 to whoever wrote an older version."""
    name = f"wattfleet-shards-{faulty.shard}"
    there = ("-n", faulty.namespace)
    household = mint_household_id()
    async with faulty.operator() as parts:
        await faulty.is_ready(faulty.wish(household))
        await parts.vault.keep(f"shards/{faulty.shard}/revocations.json", str)
        faulty.kubectl("annotate", "secret", name, "somebody=else", *there)
        faulty.wish(household, suspended=True)
        await seen(lambda: faulty.reason("household", household) == "Suspended", WITHIN_S, "it is cut off")
    secret = json.loads(faulty.kubectl("get", "secret", name, "-o", "json", *there))
    assert secret["metadata"]["annotations"]["somebody"] == "else"
    assert len(json.loads(base64.b64decode(secret["data"]["revocations.json"]))) == 1


async def test_while_the_broker_is_away_it_says_so_and_afterwards_all_is_well(faulty: Faulty) -> None:
    assert faulty.server is not None
    async with faulty.operator():
        known = faulty.wish(mint_household_id())
        await faulty.is_ready(known)
        faulty.server.kill()
        newborn = faulty.wish(mint_household_id())
        await seen(lambda: faulty.reason("household", newborn) == "BrokerUnavailable", WITHIN_S, "it says so")
        faulty.server.start()
        await faulty.is_ready(newborn)
        await faulty.is_ready(known)


@pytest.mark.parametrize("ahead", [timedelta(minutes=-10), timedelta(minutes=10)])
async def test_an_operator_whose_clock_is_wrong_hands_out_credentials_that_work(
    faulty: Faulty, ahead: timedelta
) -> None:
    async with faulty.operator() as parts:
        parts.later = ahead
        household = faulty.wish(mint_household_id())
        await faulty.is_ready(household)
        credentials = faulty.credentials(household)
        parts.later = timedelta()
        parts.loop.wake()
        await faulty.is_ready(household)
        assert faulty.credentials(household) == credentials, "and does not renew them without need"
