"""What the API server itself takes, refuses and explains of our two resources."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from wattfleet_e2e.kube_api import CommandFailed, KubeApi
from wattfleet_e2e.seeing import seen
from wattfleet_tenants.crd import Household, Shard
from wattfleet_tenants.household import mint_household_id

Manifest = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left(cluster: KubeApi) -> Iterator[None]:
    """No operator is here who would see to these; one that comes later is not to find them."""
    yield
    cluster.kubectl("delete", "households,shards", "--all")


def household(name: str | None = None, **spec: object) -> Manifest:
    metadata = {"name": name or mint_household_id()}
    return {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": metadata, "spec": spec}


def shard(name: str, **spec: object) -> Manifest:
    return {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": name}, "spec": spec}


def stored(cluster: KubeApi, manifest: Manifest) -> Manifest:
    kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
    found: Manifest = json.loads(cluster.kubectl("get", kind, name, "-o", "json"))
    return found


def test_a_resource_without_a_spec_gets_every_default_of_the_models(cluster: KubeApi) -> None:
    bare = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Shard", "metadata": {"name": "bare"}}
    home = {"apiVersion": "wattfleet.io/v1alpha1", "kind": "Household", "metadata": {"name": mint_household_id()}}
    cluster.apply(bare, home)
    assert Shard.model_validate(stored(cluster, bare)).spec == Shard(metadata={"name": "bare"}).spec
    assert stored(cluster, bare)["spec"] == Shard.model_validate(bare).spec.model_dump(mode="json", by_alias=True)
    assert stored(cluster, home)["spec"] == Household.model_validate(home).spec.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (household("kitchen"), "it must match ^h[0-9a-z]{16,26}$"),
        (household("h" + "a" * 40), "it must match ^h[0-9a-z]{16,26}$"),
        (shard("no-hyphens"), "it must match ^[a-z][a-z0-9]{0,15}$"),
        (household(timeZone="Mars/Olympus"), "it must be an IANA time zone, such as Europe/Paris"),
        (household(timeZone=""), "timeZone"),
        (household(region="Europe; DROP"), "region"),
        (household(deletionPolicy="Forget"), 'supported values: "Erase", "Retain"'),
        (household(owner="alice@example.com"), 'unknown field "spec.owner"'),
        (household(quota={"backlogDays": 0}), "from 1 to 14: what is beyond waits in its agent's outbox anyway"),
        (household(quota={"backlogDays": 15}), "from 1 to 14: what is beyond waits in its agent's outbox anyway"),
        (household(quota={"sockets": 0}), "it must be from 1 to 64: no message holds more sockets; to stop a home"),
        (household(quota={"sockets": 65}), "it must be from 1 to 64: no message holds more sockets; to stop a home"),
        (household(quota={"thermometers": -1}), "it must be from 0 to 64: no message holds more thermometers"),
        (household(quota={"sockets": "few"}), "spec.quota.sockets"),
        (household(quota={"messages": 7}), 'unknown field "spec.quota.messages"'),
        (shard("s1", writers={"min": 3, "max": 2}), "min must not be above max"),
        (shard("s1", capacity=0), "spec.capacity"),
        (shard("s1", capacity="many"), "spec.capacity"),
        (shard("s1", retentionYears=101), "spec.retentionYears"),
        (shard("s1", maxPowerW=99), "spec.maxPowerW"),
    ],
    ids=[
        "a name",
        "a long id",
        "a shard's name",
        "an unknown time zone",
        "no time zone",
        "a region that is none",
        "an unknown policy",
        "personal data",
        "no backlog",
        "too large a backlog",
        "no socket",
        "too many sockets",
        "less than no thermometer",
        "sockets in words",
        "an unknown quota",
        "min above max",
        "no capacity",
        "capacity in words",
        "too long a retention",
        "too little power",
    ],
)
def test_nonsense_is_refused_with_a_sentence_that_helps(cluster: KubeApi, manifest: Manifest, says: str) -> None:
    with pytest.raises(CommandFailed) as refusal:
        cluster.apply(manifest)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (shard("fixed", region="local"), shard("fixed", region="elsewhere"), "make a new one instead"),
        (household("h0123456789abcdefghi1"), household("h0123456789abcdefghi1", region="x"), "make a new one instead"),
        (shard("short", retentionYears=10), shard("short", retentionYears=9), "set allowShorterRetention to true"),
    ],
    ids=["a shard's region", "a household's region", "retention"],
)
def test_what_cannot_be_changed_is_refused(cluster: KubeApi, before: Manifest, after: Manifest, says: str) -> None:
    cluster.apply(before)
    with pytest.raises(CommandFailed) as refusal:
        cluster.apply(after)
    assert says in str(refusal.value)
    wanted = after["spec"].keys() - {"region"}
    assert stored(cluster, before)["spec"].items() >= {key: before["spec"][key] for key in wanted}.items()


def test_a_shorter_retention_is_taken_when_it_is_meant(cluster: KubeApi) -> None:
    cluster.apply(shard("meant", retentionYears=10))
    cluster.apply(shard("meant", retentionYears=5, allowShorterRetention=True))
    assert stored(cluster, shard("meant"))["spec"]["retentionYears"] == 5


async def test_nothing_is_deleted_before_what_it_carries(cluster: KubeApi) -> None:
    """In the foreground, which some tools take by themselves, a shard's disk would go at once."""
    for wish in (shard("carries"), household()):
        cluster.apply(wish)
        resource = f"{wish['kind'].lower()}/{wish['metadata']['name']}"

        def refusal(*how: str, resource: str = resource) -> str:
            try:
                return cluster.kubectl("delete", resource, *how)
            except CommandFailed as error:
                return str(error)

        tried = partial(refusal, "--cascade=foreground", "--dry-run=server")
        await seen(lambda tried=tried: "in the background" in tried(), 30, "the rule is in force")
        for other in ("foreground", "orphan"):
            assert "--cascade=background" in refusal(f"--cascade={other}")
        assert stored(cluster, wish)
        assert "deleted" in refusal()


def test_a_quota_of_which_one_part_is_given_gets_the_others_by_default(cluster: KubeApi) -> None:
    wish = household(quota={"backlogDays": 3})
    cluster.apply(wish)
    assert stored(cluster, wish)["spec"]["quota"] == {"backlogDays": 3, "sockets": 64, "thermometers": 64}


def test_a_time_zone_that_python_knows_is_known_to_the_api_server_too(cluster: KubeApi) -> None:
    cluster.apply(household(timeZone="America/Argentina/ComodRivadavia"), household(timeZone="Asia/Kathmandu"))


def test_a_status_is_reported_beside_the_wish_and_changes_no_generation(cluster: KubeApi) -> None:
    wish = shard("told")
    cluster.apply(wish)
    status = {"status": {"households": 7}, "spec": {"capacity": 1}}
    cluster.kubectl("patch", "shard", "told", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    found = stored(cluster, wish)
    assert (found["status"]["households"], found["metadata"]["generation"]) == (7, 1)
    assert found["spec"]["capacity"] == 10_000, "a report changes no wish"


def test_kubectl_explains_and_shows_what_an_admin_wants(cluster: KubeApi) -> None:
    told = cluster.kubectl("explain", "household.spec")
    assert "True cuts its agent off until it is false again." in told
    assert "IANA time zone of its days and months." in told
    quota = cluster.kubectl("explain", "household.spec.quota")
    assert "waits in its agent's outbox until there is room" in " ".join(quota.split())
    assert "backlogDays\t<integer>" in quota
    cluster.apply(household("h0123456789abcdefghi2"))
    header, *_ = cluster.kubectl("get", "hh", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "SHARD", "READY", "REASON", "AGE", "REGION", "CREDENTIAL-EXPIRES"]
    cluster.apply(shard("shown"))
    header, *_ = cluster.kubectl("get", "shard").splitlines()
    columns = ["NAME", "REGION", "HOUSEHOLDS", "CAPACITY", "WRITERS", "READERS", "LAG", "READY", "REASON", "AGE"]
    assert header.split() == columns
    assert "household.wattfleet.io/h0123456789abcdefghi2" in cluster.kubectl("get", "wattfleet", "-o", "name")
