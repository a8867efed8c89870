"""Which households a shard carries and what they may take of it, from a key-value bucket that the operator keeps.

All keys are read before the first message is looked at, then whatever changed since, every other second. It is read as
a stream, on from the last position: nothing is missed, nothing is read twice, and it takes no right but that of
reading, as creating a consumer would, which can be told to deliver to any subject of the account. Reading begins anew
after every reconnect. A household that is not among them is looked up once more by itself before it is called foreign,
so that a newborn's first message is never refused because the reading is late. Nobody is called carried on the strength
of what was read KNOWN_WITHIN_S ago: it may have left. An answer may be kept for as long as the edition lasts, which
ends when something else is read.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence

import nats.errors
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from nats.js.kv import KV_OP
from pydantic import ValidationError

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.quota import DEFAULT_QUOTA, Quota

logger = logging.getLogger(__name__)

KNOWN_WITHIN_S = 15.0

_STREAM = f"KV_{subjects.HOUSEHOLDS_BUCKET}"
_KEYS = f"$KV.{subjects.HOUSEHOLDS_BUCKET}."
_AT_ONCE = 1_000
_LOOK_EVERY_S = 2.0
_PAUSE_S = 1.0
_ANSWER_WITHIN_S = 5.0
_FAILURES = (OSError, TimeoutError, nats.errors.Error)
_NOTHING_MORE = ("204", "404")

_LEAVING = b"leaving"


def assigned(quota: Quota) -> bytes:
    """The value of a household that is carried: what its quota has other than the default, mostly nothing."""
    return b"" if quota == DEFAULT_QUOTA else quota.model_dump_json(by_alias=True, exclude_defaults=True).encode()


def leaving(value: bytes) -> bytes:
    """The value of one that sends no more, made of what it was: the writer still takes its readings, as before."""
    return value if value.startswith(_LEAVING) else _LEAVING + value


def quota_in(value: bytes) -> Quota:
    """The quota that a value tells of; the default where it tells of none that is understood."""
    wished = value.removeprefix(_LEAVING)
    if not wished:
        return DEFAULT_QUOTA
    try:
        return Quota.model_validate_json(wished, extra="ignore")
    except ValidationError:
        logger.warning("a quota is not understood, and is as if there were none", extra={"quota": repr(wished[:100])})
        return DEFAULT_QUOTA


class WatchedAssignments:
    """Run `keep_watching` as a task beside whoever asks."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._held = _Held()
        self._edition = 0
        self._reconnected = asyncio.Event()
        self.loaded = asyncio.Event()
        connection.on_reconnected.append(self._reconnected.set)

    @property
    def quotas(self) -> Mapping[HouseholdId, Quota]:
        """The quotas of those households that have one of their own, as last heard; another mapping after a change."""
        return self._held.quotas

    def edition(self) -> int:
        """Another number after every change; raises Unavailable when the last look was too long ago."""
        self._require_fresh()
        return self._edition

    async def foreign(self, households: Collection[HouseholdId]) -> set[HouseholdId]:
        """Those of `households` that the shard does not carry; raises Unavailable when that cannot be told."""
        held = self._held
        unknown = [household for household in households if household not in held.carried]
        if len(unknown) < len(households):
            self._require_fresh()
        if not unknown:
            return set()
        self._connection.require_connected()
        position = held.position
        try:
            found = await asyncio.gather(*[self._value(household) for household in unknown])
        except _FAILURES as error:
            raise Unavailable(f"the shard's households cannot be looked up: {describe(error)}") from error
        looked_up = dict(zip(unknown, found, strict=True))
        if held.position == position:  # else something newer may have been read meanwhile
            held.note(looked_up)
        return {household for household, value in looked_up.items() if value is None}

    def _require_fresh(self) -> None:
        if (age_s := self._held.age_s) > KNOWN_WITHIN_S:
            raise Unavailable(f"the shard's households were last read {age_s:.0f} s ago")

    async def keep_watching(self) -> None:
        """Follows the bucket for as long as the connection is not closed."""
        while not self._connection.is_closed:
            try:
                await self._follow()
            except (*_FAILURES, Unavailable, LookupError, ValueError) as error:
                logger.warning("households are not watched", extra={"error": describe(error)})
                await asyncio.sleep(_PAUSE_S)

    async def _follow(self) -> None:
        """From the bucket's beginning on, until the connection was lost in between."""
        self._reconnected.clear()
        held = _Held()
        while not self._reconnected.is_set():
            asked_s = time.monotonic()
            while entries := await self._after(held.position):
                held.position = int(_headers(entries[-1])["Nats-Sequence"])
                held.note(dict(map(_entry, entries)))
                self._edition += held is self._held
            held.read_at_s = asked_s
            if held is not self._held:
                self._held = held
                self._edition += 1
            self.loaded.set()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _after(self, position: int) -> Sequence[Msg]:
        """The next entries of the bucket, the oldest first; none when there are no more. Raises Unavailable."""
        self._connection.require_connected()
        inbox = self._connection.new_inbox()
        answers = await self._connection.subscribe(inbox)
        wanted = {"seq": position + 1, "next_by_subj": f"{_KEYS}*", "batch": _AT_ONCE}
        entries: list[Msg] = []
        try:
            await self._connection.publish(f"$JS.API.DIRECT.GET.{_STREAM}", json.dumps(wanted).encode(), reply=inbox)
            while True:
                answer = await answers.next_msg(timeout=_ANSWER_WITHIN_S)
                status = _headers(answer).get("Status")
                if status in _NOTHING_MORE:
                    return entries
                if status is not None:
                    raise Unavailable(f"the shard's households cannot be read: {status}")
                entries.append(answer)
        finally:
            with contextlib.suppress(*_FAILURES):  # an error here would stand in for being cancelled
                await answers.unsubscribe()

    async def _value(self, household: HouseholdId) -> bytes | None:
        try:
            entry = await self._connection.jetstream().get_last_msg(_STREAM, _KEYS + household, direct=True)
        except NotFoundError:
            return None
        return None if KV_OP in (entry.headers or {}) else entry.data or b""


class _Held:
    """What the bucket holds, as far as it was read."""

    def __init__(self) -> None:
        self.position = 0
        self.read_at_s = time.monotonic()
        self.carried: set[HouseholdId] = set()
        self.quotas: dict[HouseholdId, Quota] = {}

    @property
    def age_s(self) -> float:
        """How long ago it held all that the bucket does."""
        return time.monotonic() - self.read_at_s

    def note(self, values: Mapping[HouseholdId, bytes | None]) -> None:
        """What the bucket says of some households, None of those that it does not hold."""
        self.quotas = {household: quota for household, quota in self.quotas.items() if household not in values}
        for household, value in values.items():
            if value is None:
                self.carried.discard(household)
                continue
            self.carried.add(household)
            if (quota := quota_in(value)) != DEFAULT_QUOTA:
                self.quotas[household] = quota


def _headers(message: Msg) -> Mapping[str, str]:
    return message.headers or {}


def _entry(message: Msg) -> tuple[HouseholdId, bytes | None]:
    headers = _headers(message)
    return HouseholdId(headers["Nats-Subject"].removeprefix(_KEYS)), None if KV_OP in headers else message.data
