"""What a shard has only one of is away for a minute, on real nodes, while a home sends: nothing is lost, none lies."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from wattfleet_e2e.capabilities import Capability
from wattfleet_e2e.homes import Home
from wattfleet_e2e.nodes import Cluster
from wattfleet_e2e.platform import Platform, images_in, platform_on
from wattfleet_tenants.testing.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
CACHE = ROOT / ".cache"
SHARD = "s1"
HISTORY_DAYS = 30
AWAY_S = 60
NOTICED_WITHIN_S = 45

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.needs(Capability.NODES_ARE_MACHINES),
    pytest.mark.skipif(not images_in(CACHE), reason="the images are not built: `make e2e-images` builds them"),
]


@pytest.fixture(scope="module")
def platform(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """As the chart has it by default, with one shard."""
    platform = platform_on(nodes, "faults", CACHE, tmp_path_factory.mktemp("helm"))
    with platform.installed(CHARTS, {}):
        platform.kubectl("apply", "-f", str(ROOT / "examples" / "shard.yaml"))
        platform.wait_until_ready("shard", SHARD)
        yield platform


def test_a_store_that_is_away_for_a_minute_costs_no_reading(platform: Platform) -> None:
    home = Home(platform, SHARD, HISTORY_DAYS)
    with home.sending(CHARTS):
        assert reasons_while_away(platform, home, f"store-{SHARD}-0") <= {"StoreNotReady", "StoreUnavailable"}
        home.wait_until_all_is_well()


def test_a_broker_that_is_away_for_a_minute_costs_no_reading(platform: Platform) -> None:
    home = Home(platform, SHARD, HISTORY_DAYS)
    with home.sending(CHARTS):
        assert reasons_while_away(platform, home, "home-nats-0") == {"BrokerUnavailable"}
        home.wait_until_all_is_well()


def reasons_while_away(platform: Platform, home: Home, pod: str) -> set[str]:
    """What the shard and the household say of themselves in the minute in which the pod is away."""
    resources = (("shard", SHARD), ("household", home.household))
    reasons: set[str] = set()
    with platform.away(pod):
        assert home.is_in_the_middle()

        def are_ready() -> list[str]:
            return [kind for kind, name in resources if platform.readiness(kind, name)[0]]

        wait_until(lambda: not are_ready(), NOTICED_WITHIN_S, "shard and household say that they are not ready")
        back_at_s = monotonic() + AWAY_S

        def is_over() -> bool:
            said = [platform.readiness(*resource) for resource in resources]
            assert not any(ready for ready, _ in said), said
            reasons.update(reason for _, reason in said)
            return monotonic() > back_at_s

        wait_until(is_over, 2 * AWAY_S, "a minute is over", every_s=2)
    return reasons
