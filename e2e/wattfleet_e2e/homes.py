"""A home that sends to a platform in a cluster, and whether all that it measured is stored."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from wattfleet_tenants.household import mint_household_id
from wattfleet_tenants.testing.waiting import wait_until

from wattfleet_e2e.network import FIRST_NODE
from wattfleet_e2e.platform import Platform
from wattfleet_e2e.readings import AS_SENT_W, MINUTES_PER_DAY, measured, minutes_ago, stored

_SENSOR = "flat"
_BEGINS_WITHIN_S = 60
_STORED_WITHIN_S = 300
_HEALTH_PORT = 8081
_RIPPLE_SHARE = 0.02
"""Of its minute's mean a simulated second is at most so far away, and a little less."""
_ACKNOWLEDGED = re.compile(r"^wattfleet_agent_acknowledged_total (\S+)$", re.MULTILINE)


class Home:
    """A new household on `shard`. Its agent runs where no node is drained or lost, as homes are not in the cluster."""

    def __init__(self, platform: Platform, shard: str, days: int) -> None:
        self._platform = platform
        self._shard = shard
        self._days = days
        self.household = mint_household_id()
        self._began_ms = minutes_ago(0)
        self._agent = f"agent-{self.household[-8:]}"

    @contextmanager
    def sending(self, charts: Path) -> Iterator[None]:
        """With an agent that sends `days` of history and then what it measures, from when it is in the middle of it."""
        self._platform.cluster.api.apply(
            {
                "apiVersion": "wattfleet.io/v1alpha1",
                "kind": "Household",
                "metadata": {"name": self.household},
                "spec": {"region": "local", "timeZone": "Europe/Paris"},
            }
        )
        self._platform.wait_until_ready("household", self.household)
        values = (f"sensor=simulated:{_SENSOR}", f"historyDays={self._days}")
        near = rf"nodeSelector.kubernetes\.io/hostname={FIRST_NODE}"
        self._platform.install_agent(charts, self._agent, self.household, *values, near)
        try:
            wait_until(self._is_ready, _BEGINS_WITHIN_S, "the agent is connected")
            wait_until(self.acknowledged, _BEGINS_WITHIN_S, "the agent has begun to send")
            yield
        finally:
            self._platform.helm("uninstall", self._agent, "-n", self._platform.namespace)

    def acknowledged(self) -> int:
        """How many minutes the platform has taken."""
        found = _ACKNOWLEDGED.search(httpx.get(f"http://{self._door}/metrics", trust_env=False, timeout=5).text)
        return int(float(found.group(1))) if found else 0

    def is_in_the_middle(self) -> bool:
        """Whether it has sent some of its history, and not all."""
        return 0 < self.acknowledged() < self._days * MINUTES_PER_DAY

    def wait_until_all_is_well(self) -> None:
        """Shard and household are Ready, and each minute, of the history and since, that has ended by now is stored.

        Raises TimeoutError when not, AssertionError when one is stored twice or is not as it was measured, or when the
        agent did not go on by itself.
        """
        self._platform.wait_until_ready("shard", self._shard)
        self._platform.wait_until_ready("household", self.household)
        expected = measured(_SENSOR, minutes_ago(self._days * MINUTES_PER_DAY - 20), minutes_ago(0))
        with self._platform.store(self._shard) as store:

            def missing() -> int:
                return len(expected.keys() - stored(store, self.household).keys())

            wait_until(lambda: not missing(), _STORED_WITHIN_S, f"{len(expected)} samples are stored", every_s=2)
            found = stored(store, self.household)
        wrong = [
            (moment, power_w, found[moment])
            for moment, power_w in expected.items()
            if abs(found[moment] - power_w) > self._may_differ_w(moment[1], power_w)
        ]
        if wrong:
            raise AssertionError(f"{len(wrong)} samples are not as measured, such as {wrong[:3]}")
        if self._pod["status"]["containerStatuses"][0]["restartCount"]:
            raise AssertionError("the agent was started again")

    def _may_differ_w(self, at_ms: int, power_w: float) -> float:
        """History is exact; where an agent was kept from measuring some seconds, its mean is of the others."""
        return AS_SENT_W + (_RIPPLE_SHARE * power_w if at_ms >= self._began_ms else 0)

    @property
    def _pod(self) -> dict[str, Any]:
        (found,) = self._platform.pods(instance=self._agent)
        return found

    def _is_ready(self) -> bool:
        found = self._platform.pods(instance=self._agent)
        statuses = [one for pod in found for one in pod["status"].get("containerStatuses", [])]
        return bool(statuses) and all(one["ready"] for one in statuses)

    @cached_property
    def _door(self) -> str:
        return self._platform.local.reach(self._pod["status"]["podIP"], _HEALTH_PORT)
