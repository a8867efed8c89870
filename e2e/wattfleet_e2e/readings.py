"""What a simulated home measured, and what a shard's store holds of it."""

import json
from datetime import UTC, datetime

import httpx
from wattfleet_agent.simulated.home import SimulatedHome
from wattfleet_tenants.reading import INTERVAL_MS, interval_start

Samples = dict[tuple[str, int], float]
"""By socket and moment, in watts."""
MINUTES_PER_DAY = 24 * 60
AS_SENT_W = 0.051
"""Readings travel in tenths of a watt."""


def minute_of(moment_s: float) -> int:
    """The start, in ms, of the minute that holds this moment."""
    return interval_start(int(moment_s * 1000))


def minutes_ago(minutes: int) -> int:
    """The start, in ms, of the minute that was so many minutes ago."""
    return minute_of(datetime.now(UTC).timestamp()) - minutes * INTERVAL_MS


def measured(sensor: str, start_ms: int, end_ms: int) -> Samples:
    """What the sockets of the simulated home `sensor` drew in each minute from `start_ms` to before `end_ms`."""
    home = SimulatedHome(sensor)
    return {
        (str(number), at): power
        for at in range(start_ms, end_ms, INTERVAL_MS)
        for number, power in enumerate(home.minute(at).power_w, start=1)
        if power is not None
    }


def stored(store: httpx.Client, household: str) -> Samples:
    """Everything that the store holds of the household's power; raises AssertionError when it holds a moment twice."""
    asked = {"match[]": f'wattfleet_power_watts{{household="{household}"}}'}
    found: Samples = {}
    for line in store.get("/api/v1/export", params=asked, timeout=60).raise_for_status().text.splitlines():
        series = json.loads(line)
        moments = [(series["metric"]["socket"], at) for at in series["timestamps"]]
        if found.keys() & set(moments) or len(set(moments)) != len(moments):
            raise AssertionError(f"socket {series['metric']['socket']} has a moment twice")
        found |= dict(zip(moments, series["values"], strict=True))
    return found
