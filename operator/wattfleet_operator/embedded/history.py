"""Shows how far the demo's homes have come with sending their past, from what their agents count themselves.

The past travels the real path (outbox, NATS, writer, store), so it takes a minute or two. A person at a terminal sees
a bar, everybody else a line every few seconds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_LOOK_EVERY_S = 0.5
_LINE_EVERY_S = 5.0
_BEGINS_WITHIN_S = 3.0
_LAST_MINUTES = 60
"""Per home, so few that nobody needs to wait for them: the minute that is open now ends by itself."""
_TOTAL, _REMAINING = "wattfleet_agent_catch_up_total", "wattfleet_agent_catch_up_remaining"


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How many minutes of the past there are to send, and how many of them the platform holds. told: by all agents."""

    total: int
    done: int
    told: bool


async def show_history(agents: Sequence[str], console: Console, title: str) -> None:
    """Returns when the agents with these health URLs have (nearly) nothing left to send, or nothing to send at all."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        begun_s = told_s = monotonic()
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                now = await _caught_up(agents, client)
                bar.update(task, total=now.total or None, completed=now.done)
                if _enough(now, len(agents), monotonic() - begun_s):
                    return
                if not console.is_terminal and now.total and monotonic() - told_s > _LINE_EVERY_S:
                    told_s = monotonic()
                    console.print(f"{title}: {now.done} of {now.total} minutes")
                await asyncio.sleep(_LOOK_EVERY_S)


def _enough(now: CaughtUp, agents: int, waited_s: float) -> bool:
    begun = now.told and (now.total > 0 or waited_s > _BEGINS_WITHIN_S)
    return begun and now.total - now.done <= agents * _LAST_MINUTES


async def _caught_up(agents: Sequence[str], client: httpx.AsyncClient) -> CaughtUp:
    each = await asyncio.gather(*(_gauges(agent, client) for agent in agents))
    total = int(sum(gauges.get(_TOTAL, 0) for gauges in each))
    return CaughtUp(total, total - int(sum(gauges.get(_REMAINING, 0) for gauges in each)), all(each))


async def _gauges(agent: str, client: httpx.AsyncClient) -> dict[str, float]:
    """The agent's gauges; none while it does not answer."""
    try:
        answer = await client.get(f"{agent}/metrics")
    except httpx.HTTPError:
        return {}
    return {sample.name: sample.value for f in text_string_to_metric_families(answer.text) for sample in f.samples}
