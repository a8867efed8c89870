"""The operator's loop, everywhere: looks at resources when they change, when their time has come, and in a sweep.

Each resource is looked at in isolation: what goes wrong with one is reported in its own status and retried with a
pause of its own, and hides none of the others. This is the only place that turns NotYet and Refused into conditions.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from wattfleet_tenants.crd import Condition, ConditionType, Household, Shard, Status

from wattfleet_operator import household as households
from wattfleet_operator import metrics
from wattfleet_operator import shard as shards
from wattfleet_operator.conditions import outcome_of, reported
from wattfleet_operator.errors import NotYet, Refused
from wattfleet_operator.ports import World

logger = logging.getLogger(__name__)

Resource = TypeVar("Resource", Household, Shard)

SWEEP_EVERY_S: Mapping[str, float] = {"Shard": 30.0, "Household": 300.0}
"""How long one that is well is left alone. A household works when its shard does, which wakes it."""
_STALLED_EVERY_S = 30.0
_LOOK_EVERY_S = 0.5
_FIRST_PAUSE_S = 0.5
_AT_ONCE = 8
_OF_A_KIND_PER_LOOK = 256
"""Thousands that are due at the same time are looked at in portions, so that one that has changed comes first."""
_FIRST_OF_ALL_S = 0.0


@dataclass(slots=True)
class _Memory:
    """What the loop knows of one resource. due_s: when it is looked at next. failures: unforeseen ones in a row."""

    wish: object
    due_s: float = _FIRST_OF_ALL_S
    failures: int = 0


class Loop:
    """Reconciles all of `world.resources`. sweep_every_s: how long one of a kind that is well is left alone."""

    def __init__(self, world: World, sweep_every_s: Mapping[str, float] = SWEEP_EVERY_S) -> None:
        self._world = world
        self._sweep_every_s = sweep_every_s
        self._resources = world.resources
        self._memories: dict[tuple[str, str], _Memory] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something outside has changed: look at everything again soon."""
        self._woken.set()

    def touch(self, kind: str, name: str) -> None:
        """Something that belongs to this resource has changed: look at it again soon."""
        memory = self._memories.get((kind, name))
        if memory is not None:
            memory.due_s = _FIRST_OF_ALL_S

    async def run(self) -> None:
        """Goes round until it is cancelled."""
        while True:
            try:
                if not await self.look():
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._woken.wait()
            except TimeoutError:
                continue
            except Exception:
                logger.exception("the resources could not be looked at")
                await asyncio.sleep(_LOOK_EVERY_S)
            if self._woken.is_set():
                self._woken.clear()
                now_s = monotonic()  # not sooner: whoever waits since an earlier call is looked at before
                for memory in self._memories.values():
                    memory.due_s = min(memory.due_s, now_s)

    async def look(self) -> bool:
        """Reconciles resources that have changed or are due: shards before the households that they carry.

        Returns whether some of them have to wait for the next look.
        """
        due = sum(memory.due_s <= monotonic() for memory in self._memories.values())
        metrics.count_due(due)
        if not self._resources.changed() and not due:
            return False
        left = await self._each(self._resources.shards(), shards.reconcile)
        left += await self._each(self._resources.households(), households.reconcile)
        there: list[Household | Shard] = [*self._resources.shards(), *self._resources.households()]
        for vanished in self._memories.keys() - {_key(resource) for resource in there}:
            del self._memories[vanished]
        metrics.count_ready(there)
        return left > 0

    async def _each(
        self, resources: Sequence[Resource], reconcile: Callable[[Resource, World], Awaitable[Status]]
    ) -> int:
        """Looks at those that are due, first those that have waited longest; returns how many are left."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(resource: Resource, memory: _Memory) -> None:
            async with slots:
                await self._one(resource, memory, reconcile)

        now_s = monotonic()
        due = [(resource, memory) for resource in resources if (memory := self._memory(resource)).due_s <= now_s]
        due.sort(key=lambda pair: pair[1].due_s)
        async with asyncio.TaskGroup() as group:
            for resource, memory in due[:_OF_A_KIND_PER_LOOK]:
                group.create_task(one(resource, memory))
        return len(due[_OF_A_KIND_PER_LOOK:])

    def _memory(self, resource: Household | Shard) -> _Memory:
        """What is known of `resource`; it is due at once when it is new or its wish has changed."""
        key = _key(resource)
        wish = (resource.spec, resource.metadata.deletion_timestamp is not None)
        memory = self._memories.get(key)
        if memory is None or memory.wish != wish:
            memory = self._memories[key] = _Memory(wish)
        return memory

    async def _one(
        self, resource: Resource, memory: _Memory, reconcile: Callable[[Resource, World], Awaitable[Status]]
    ) -> None:
        """Looks at one resource. Whatever goes wrong, its own report included, is a matter of this one alone."""
        memory.due_s = math.inf  # whoever touches it from now on has it looked at once more
        try:
            try:
                with metrics.reconciling(resource.kind):
                    status = await reconcile(resource, self._world)
            except Exception as error:
                self._put_off(resource, memory, error)
                await self._report_failure(resource, error)
                return
            memory.failures, memory.due_s = 0, min(memory.due_s, monotonic() + self._sweep_every_s[resource.kind])
            if resource.metadata.deletion_timestamp is None:
                await self._report(resource, status)
            else:
                self._memories.pop(_key(resource))
                logger.info("deleted", extra=_names(resource))
        except Exception as error:
            self._put_off(resource, memory, error)

    def _put_off(self, resource: Household | Shard, memory: _Memory, error: Exception) -> None:
        memory.failures = 0 if isinstance(error, NotYet | Refused) else memory.failures + 1
        memory.due_s = min(memory.due_s, monotonic() + _pause_s(error, memory.failures))
        _log(resource, error)

    async def _report_failure(self, resource: Household | Shard, error: Exception) -> None:
        """Reports on top of what was recorded meanwhile, such as a placement."""
        if isinstance(resource, Household):
            recorded: Household | Shard | None = self._resources.household(resource.id)
        else:
            recorded = self._resources.shard(resource.id)
        status = (recorded or resource).status
        outcome = outcome_of(error)
        await self._report(resource, reported(status, outcome, resource.metadata.generation, self._world.clock()))

    async def _report(self, resource: Household | Shard, status: Status) -> None:
        if status == resource.status:
            return
        await self._resources.report(resource, status)
        await self._tell(resource, status)
        if status.ready != resource.status.ready:
            logger.info("ready" if status.ready else "not ready", extra=_names(resource))
            if isinstance(resource, Shard):
                self.wake()  # its households need not wait for their own time

    async def _tell(self, resource: Household | Shard, status: Status) -> None:
        """An admin hears of what needs help, and of a shard that no longer works; the rest comes right by itself."""
        stalled = status.condition(ConditionType.STALLED)
        was_stalled = resource.status.condition(ConditionType.STALLED)
        begins_to_stall = _is_true(stalled) and not _is_true(was_stalled)
        breaks = isinstance(resource, Shard) and resource.status.ready and not status.ready
        if stalled is not None and (begins_to_stall or breaks):
            await self._world.news.tell(resource, stalled.reason, stalled.message, warning=True)


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _pause_s(error: Exception, failures: int) -> float:
    match error:
        case NotYet():
            return float(error.retry_in_s)
        case Refused():
            return _STALLED_EVERY_S
        case _:
            return min(_FIRST_PAUSE_S * 2.0**failures, _STALLED_EVERY_S)


def _log(resource: Household | Shard, error: Exception) -> None:
    if not isinstance(error, NotYet | Refused):
        logger.error("reconcile failed", extra=_names(resource), exc_info=error)
    elif not _is_reported(resource.status, error):
        logger.info("not yet", extra={**_names(resource), "reason": error.reason, "detail": error.message})


def _is_reported(status: Status, error: NotYet | Refused) -> bool:
    """One that waits for hours is looked at thousands of times, and the log says it once."""
    ready = status.condition(ConditionType.READY)
    return ready is not None and (ready.reason, ready.message) == (error.reason, error.message)


def _key(resource: Household | Shard) -> tuple[str, str]:
    return resource.kind, resource.metadata.name


def _names(resource: Household | Shard) -> dict[str, str]:
    return {"kind": resource.kind, "resource": resource.metadata.name}
