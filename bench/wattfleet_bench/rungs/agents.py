"""Real agents, many to a process, through the whole shard: how evenly they send, and how soon they are answered."""

from wattfleet_bench.bench import Bench
from wattfleet_bench.homes import Homes, day_in_the_past_ms
from wattfleet_bench.load.rung import real_agents
from wattfleet_bench.results import Result
from wattfleet_bench.shard_under_test import ShardUnderTest

_AGENTS = 500
_INTERVAL_S = 10.0
_DURATION_S = 60.0


def run(bench: Bench) -> list[Result]:
    """Acknowledgement times, peak/mean of the sends, CPU and memory of an agent; every sample compared."""
    homes = Homes(bench.amount(_AGENTS, 20), day_in_the_past_ms())
    bench.progress.step(f"{homes.count:,} agents start")
    with bench.folder() as folder, ShardUnderTest(folder, homes) as shard:
        outboxes = folder / "agents"
        outboxes.mkdir()
        return real_agents(shard, homes.households(), outboxes, _INTERVAL_S, _DURATION_S, bench.progress.step)
