"""Three NATS servers with three copies of each stream, on real nodes, while a home sends.

A server dies, a node is lost with the operator that acts and the shard's store, two nodes are drained: nothing is lost.
A disk here is a folder that every node sees, so a pod finds it wherever it comes back, as with a disk of the network;
one that is its node's own would wait for its node.
"""

import asyncio
import base64
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from nats.js.api import ClusterInfo
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.homes import Home
from wattfleet_e2e.network import FIRST_NODE
from wattfleet_e2e.node import Node
from wattfleet_e2e.nodes import Cluster
from wattfleet_e2e.platform import Platform, images_in, platform_on
from wattfleet_operator.adapters.cluster_lease import LEASE_NAME
from wattfleet_operator.adapters.nats_connections import NatsConnections
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.vault_names import secret_of
from wattfleet_tenants import subjects
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
CACHE = ROOT / ".cache"
SHARD = ShardId("s1")
HISTORY_DAYS = 30
SERVERS = 3
FOLLOWED_WITHIN_S = 20
WITHIN_S = 180
LIMIT = f"--timeout={WITHIN_S}s"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.needs(Capability.NODES_ARE_MACHINES),
    pytest.mark.skipif(not images_in(CACHE), reason="the images are not built: `make e2e-images` builds them"),
]


@pytest.fixture(scope="module")
def platform(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """With one shard."""
    platform = platform_on(nodes, "large", CACHE, tmp_path_factory.mktemp("helm"))
    values = {"nats": {"replicas": SERVERS}, "shards": {"streamReplicas": SERVERS}}
    with platform.installed(CHARTS, values):
        platform.kubectl("apply", "-f", str(ROOT / "examples" / "shard.yaml"))
        platform.wait_until_ready("shard", SHARD)
        yield platform


class KeptSecrets:
    """The operator's vault, to be read only."""

    def __init__(self, platform: Platform) -> None:
        self._secrets = platform.secrets()

    async def keep(self, name: str, make: Callable[[], str]) -> str:
        secret, key = secret_of(name)
        return base64.b64decode(self._secrets[secret][key]).decode()


def copies(platform: Platform) -> ClusterInfo:
    """Who keeps what a home catches up with."""

    async def ask() -> ClusterInfo:
        connections = NatsConnections((f"nats://{door}",), NatsIdentities(KeptSecrets(platform)))
        async with connections.jetstream(SHARD) as streams:
            info = await streams.stream_info(subjects.bundle_stream(SHARD, subjects.Lane.BACKLOG))
        await connections.close()
        return info.cluster

    address = platform.resource("service", "home-nats")["spec"]["clusterIP"]
    door = platform.local.reach(address, 4222)
    return asyncio.run(ask())


def are_all_there(platform: Platform) -> bool:
    followers = copies(platform).replicas or []
    return len(followers) == SERVERS - 1 and all(one.current and not one.offline for one in followers)


@pytest.mark.parametrize("knows", [False, True], ids=["a stranger", "one that knows the password"])
def test_who_does_not_know_the_password_is_no_server_of_this_nats(platform: Platform, knows: bool) -> None:
    (pod, *_) = platform.pods(component="nats")
    kept = platform.secrets()["wattfleet-nats-routes"]["password"]
    password = base64.b64decode(kept).decode() if knows else "guessed"
    host, _, port = platform.local.reach(pod["status"]["podIP"], 6222).partition(":")
    me = {"name": "another", "cluster": "wattfleet", "user": "routes", "pass": password, "verbose": False}
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rwb") as lines:
        assert lines.readline().startswith(b"INFO ")
        lines.write(f"CONNECT {json.dumps(me)}\r\nPING\r\n".encode())
        lines.flush()
        heard = b"".join(iter(lines.readline, b"PONG\r\n") if knows else lines)
    assert (b"Authorization Violation" in heard) is not knows


def test_two_servers_of_three_take_everything_while_the_third_is_away(platform: Platform) -> None:
    wait_until(lambda: are_all_there(platform), WITHIN_S, "there are three copies", every_s=1)
    home = Home(platform, SHARD, HISTORY_DAYS)
    with home.sending(CHARTS):
        leader = copies(platform).leader
        with platform.away(leader):
            assert home.is_in_the_middle()
            wait_until(lambda: not home.is_in_the_middle(), WITHIN_S, "all of the history is taken", every_s=1)
            platform.wait_until_ready("shard", SHARD)
            assert copies(platform).leader != leader
        wait_until(lambda: are_all_there(platform), WITHIN_S, "there are three copies again", every_s=1)
        home.wait_until_all_is_well()


def test_a_lost_node_is_followed_within_20_s_and_what_it_ran_moves_once_it_is_given_up(platform: Platform) -> None:
    node = where_the_operator_acts(platform)
    move_the_store_to(platform, node)
    home = Home(platform, SHARD, HISTORY_DAYS)
    with home.sending(CHARTS):
        former = acting(platform)
        with lost(platform.local, node):
            assert home.is_in_the_middle()
            wait_until(lambda: acting(platform) not in ("", former), FOLLOWED_WITHIN_S, "another operator acts")
            missed = ("wait", "--for=condition=Ready=Unknown", LIMIT, "node", node.name)
            platform.kubectl(*missed)
            # So an admin says that it does not come back; without it, Kubernetes waits with what has a disk.
            platform.kubectl("taint", "node", node.name, f"{OUT_OF_SERVICE}=lost:NoExecute")
            wait_until(lambda: has_moved(platform, node), WITHIN_S, "all runs on the other nodes", every_s=1)
            home.wait_until_all_is_well()


def test_a_drain_leaves_two_of_three_servers_at_any_time_and_loses_nothing(platform: Platform) -> None:
    others = [node.name for node in platform.local.nodes if node.name != FIRST_NODE]
    home = Home(platform, SHARD, HISTORY_DAYS)
    at_least = {"StatefulSet/home-nats": SERVERS - 1, "Deployment/home-operator": 1}
    with home.sending(CHARTS), ThreadPoolExecutor(1) as pool:
        assert home.is_in_the_middle()
        try:
            drain = ("drain", *others, "--ignore-daemonsets", "--delete-emptydir-data", LIMIT)
            drained = pool.submit(platform.kubectl, *drain)

            def is_over() -> bool:
                ready = ready_pods(platform, at_least)
                assert {name: max(count, at_least[name]) for name, count in ready.items()} == ready
                return drained.done()

            wait_until(is_over, 2 * WITHIN_S, "both nodes are drained", every_s=0.1)
            drained.result()
            wait_until(
                lambda: all(has_moved(platform, node) for node in platform.local.nodes if node.name in others),
                WITHIN_S,
                "all runs on the first node",
                every_s=1,
            )
            home.wait_until_all_is_well()
        finally:
            platform.kubectl("uncordon", *others)


def ready_pods(platform: Platform, names: dict[str, int]) -> dict[str, int]:
    told = json.loads(platform.kubectl("get", *names, "-n", platform.namespace, "-o", "json"))["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one["status"].get("readyReplicas", 0) for one in told}


def acting(platform: Platform) -> str:
    """The operator that acts, by its pod's name and what makes it unique."""
    return str(platform.resource("lease", LEASE_NAME)["spec"]["holderIdentity"])


def where_the_operator_acts(platform: Platform) -> Node:
    """Not the first node, whose operator is ended first if it is the one that acts; the other one is elsewhere."""
    for _ in platform.local.nodes:
        nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in platform.pods(component="operator")}
        leader = acting(platform)
        (pod,) = (name for name in nodes if leader.startswith(name))
        if nodes[pod] != FIRST_NODE and len(set(nodes.values())) > 1:
            return next(node for node in platform.local.nodes if node.name == nodes[pod])
        platform.kubectl("delete", "pod", pod, "-n", platform.namespace)
        platform.kubectl("rollout", "status", "deployment/home-operator", "-n", platform.namespace, LIMIT)
        wait_until(lambda leader=leader: acting(platform) not in ("", leader), WITHIN_S, "another operator acts")
    pytest.fail(f"the operators are not on nodes of their own:\n{platform.trouble()}")


def move_the_store_to(platform: Platform, node: Node) -> None:
    """The shard's store runs on this node from here on."""
    others = [one.name for one in platform.local.nodes if one is not node]
    platform.kubectl("cordon", *others)
    try:
        platform.kubectl("delete", "pod", f"store-{SHARD}-0", "-n", platform.namespace)
        platform.kubectl("rollout", "status", f"statefulset/store-{SHARD}", "-n", platform.namespace, LIMIT)
    finally:
        platform.kubectl("uncordon", *others)


@contextmanager
def lost(cluster: Cluster, node: Node) -> Iterator[None]:
    cluster.lose(node)
    try:
        yield
    finally:
        cluster.bring_back(node)
        cluster.kubectl("taint", "node", node.name, f"{OUT_OF_SERVICE}-")


def has_moved(platform: Platform, node: Node) -> bool:
    """Whether every pod of the platform is ready, and none is on this node."""
    pods = json.loads(platform.kubectl("get", "pods", "-n", platform.namespace, "-o", "json"))["items"]
    return all(pod["spec"].get("nodeName") != node.name and is_ready(pod) for pod in pods)


def is_ready(pod: dict[str, object]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
