"""What a watch goes through: cut, forgotten on the way, too old to go on. The operator sees by itself, and in time.

Between the operator and the API server lies a line of ours; the administrator's kubectl does not take it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.faulty import WITHIN_S, Faulty
from wattfleet_e2e.line import Line
from wattfleet_e2e.pods import pods_run
from wattfleet_e2e.seeing import seen
from wattfleet_operator.adapters.cluster_secrets import secret_name
from wattfleet_operator.cluster import Pace
from wattfleet_operator.vault_names import secret_of, writer_credential
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.shard import ShardId

HOUSEHOLDS = "/apis/wattfleet.io/v1alpha1/households"
BACK_WITHIN_S = 15
"""A line that is mended is tried again after pauses of 4 s at most."""
NOTICED_WITHIN_S = 45
"""A watch that is silent for 30 s is dead; kopf's own idea is 70."""
OFTEN = Pace(sweep_every_s={"Shard": 5.0, "Household": 5.0}, roll_call_every_s=5.0)

pytestmark = pytest.mark.needs(Capability.PROCESS_CONTROL)


@pytest.fixture
async def line(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    """The way of `faulty`'s operators to the API server."""
    straight, port = faulty.kubeconfig, urlsplit(faulty.cluster.url).port
    assert port is not None
    async with Line(port) as line:
        faulty.kubeconfig = faulty.cluster.kubeconfig_through(line.port)
        monkeypatch.setenv("KUBECONFIG", str(faulty.kubeconfig))
        yield line
        faulty.kubeconfig = straight
        monkeypatch.setenv("KUBECONFIG", str(straight))


@pytest.fixture
async def pods(faulty: Faulty) -> AsyncIterator[None]:
    """The pods of `faulty` run."""
    client = faulty.client()
    running = asyncio.create_task(pods_run(client, faulty.namespace))
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()


async def born(faulty: Faulty, **spec: object) -> HouseholdId:
    household = faulty.wish(mint_household_id(), deletionPolicy="Retain", **spec)
    await faulty.is_ready(household)
    return household


async def shard_is_ready(faulty: Faulty) -> None:
    await seen(lambda: faulty.reason("shard", faulty.shard) == "Ready", WITHIN_S, "the shard is Ready")


async def is_gone(faulty: Faulty, household: HouseholdId, within_s: float) -> None:
    await seen(lambda: household not in faulty.kubectl("get", "hh", "-o", "name"), within_s, "it is let go")
    await seen(lambda: secret_name(household) not in faulty.secrets(), within_s, "nothing is left of it")


@pytest.mark.usefixtures("pods")
async def test_what_went_while_the_watch_was_cut_is_seen_although_the_api_server_has_forgotten_it(
    faulty: Faulty, line: Line
) -> None:
    there = ("-n", faulty.namespace)
    async with faulty.operator(workloads=None, pace=OFTEN):
        await shard_is_ready(faulty)
        kept, leaving, robbed, forced = [await born(faulty) for _ in range(4)]
        credentials = faulty.credentials(kept)
        keys = ("secret", secret_of(writer_credential(ShardId(faulty.shard)))[0], *there)
        wanted = ("get", *keys, "-o", r"jsonpath={.data.writer\.creds}")
        held = faulty.kubectl(*wanted)
        version = json.loads(faulty.kubectl("get", "--raw", HOUSEHOLDS))["metadata"]["resourceVersion"]
        await line.cut()
        newborn = faulty.wish(mint_household_id(), deletionPolicy="Retain")
        faulty.kubectl("delete", "household", leaving, "--wait=false")
        faulty.kubectl("patch", "household", forced, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        faulty.kubectl("delete", "household", forced)
        faulty.kubectl("delete", "secret", secret_name(robbed), *there)
        faulty.kubectl("delete", "service", f"reader-{faulty.shard}", *there)
        faulty.kubectl("delete", "deployment", f"writer-{faulty.shard}", *there)
        faulty.kubectl("delete", *keys)
        faulty.cluster.forget_the_past()
        since = f"{HOUSEHOLDS}?watch=1&timeoutSeconds=1&resourceVersion={version}"
        assert '"code":410' in faulty.kubectl("get", "--raw", since)
        await line.mend()
        await faulty.is_ready(newborn)
        await is_gone(faulty, leaving, WITHIN_S)
        await seen(lambda: faulty.credentials(robbed), WITHIN_S, "the home has its Secret again")
        lost = {f"service/reader-{faulty.shard}", f"deployment.apps/writer-{faulty.shard}"}
        await seen(lambda: lost <= objects(faulty), WITHIN_S, "what was deleted by hand is put back")
        await seen(lambda: faulty.kubectl(*wanted, "--ignore-not-found") == held, WITHIN_S, "the keys are the same")
        await shard_is_ready(faulty)
        for household in (kept, robbed, newborn):
            await faulty.is_ready(household)
        carried = ("get", "shard", faulty.shard, "-o", "jsonpath={.status.households}")
        await seen(lambda: faulty.kubectl(*carried) == "3", WITHIN_S, "nobody is counted who is not there")
    assert faulty.credentials(kept) == credentials


def objects(faulty: Faulty) -> set[str]:
    return set(faulty.kubectl("get", "services,deployments", "-n", faulty.namespace, "-o", "name").split())


async def test_a_watch_that_was_cut_goes_on_where_it_was(faulty: Faulty, line: Line) -> None:
    async with faulty.operator():
        kept, leaving = [await born(faulty) for _ in range(2)]
        credentials = faulty.credentials(kept)
        await line.cut()
        newborn = faulty.wish(mint_household_id(), deletionPolicy="Retain")
        faulty.kubectl("delete", "household", leaving, "--wait=false")
        await line.mend()
        await faulty.is_ready(newborn, BACK_WITHIN_S)
        await is_gone(faulty, leaving, BACK_WITHIN_S)
        await faulty.is_ready(kept)
    assert faulty.credentials(kept) == credentials


async def test_a_watch_that_leads_nowhere_any_more_is_noticed_although_nothing_ends_it(
    faulty: Faulty, line: Line
) -> None:
    async with faulty.operator():
        kept, leaving = [await born(faulty) for _ in range(2)]
        credentials = faulty.credentials(kept)
        line.silence()
        newborn = faulty.wish(mint_household_id(), deletionPolicy="Retain")
        faulty.kubectl("delete", "household", leaving, "--wait=false")
        await faulty.is_ready(newborn, NOTICED_WITHIN_S)
        await is_gone(faulty, leaving, NOTICED_WITHIN_S)
        await faulty.is_ready(kept)
        await line.cut()  # of one who never answers asyncio takes its leave after 30 s, and kopf does not wait for it
    assert faulty.credentials(kept) == credentials
