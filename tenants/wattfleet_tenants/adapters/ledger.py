"""The ledger as a key-value bucket: one account per lane and run of an ingest, changed by compare-and-set.

Two writers may settle bundles of one run at the same moment; whoever comes second reads the account again. What was
sent and is not settled is looked up in the streams themselves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import nats.errors
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

from wattfleet_tenants import subjects
from wattfleet_tenants.adapters.nats_connection import NatsConnection, describe
from wattfleet_tenants.ledger import Account, Settled, Totals, total
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.wire import bundle

_ANSWER_WITHIN_S = 5.0
_FAILURES = (OSError, TimeoutError, nats.errors.Error)
_STREAM = f"KV_{subjects.LEDGER_BUCKET}"
_KEYS = f"$KV.{subjects.LEDGER_BUCKET}."


class JetStreamLedger:
    """The ledger of a shard."""

    def __init__(self, connection: NatsConnection, shard: ShardId) -> None:
        self._connection = connection
        self._shard = shard

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Records what became of bundles; one that is recorded already changes nothing. Raises Unavailable."""
        runs: dict[tuple[Lane, str], list[Settled]] = defaultdict(list)
        for entry in settled:
            runs[entry.lane, entry.run].append(entry)
        try:
            bucket = await self._bucket()
            for (lane, run), entries in runs.items():
                while not await _settle(bucket, subjects.ledger_key(lane, run), entries):
                    pass
        except (*_FAILURES, ValueError) as error:
            raise Unavailable(f"the ledger cannot be written: {describe(error)}") from error

    async def totals(self) -> dict[Lane, Totals]:
        """How the accounts stand, for each lane; raises Unavailable."""
        try:
            bucket = await self._bucket()
            kept = await self._connection.jetstream().stream_info(_STREAM, subjects_filter=f"{_KEYS}>")
            keys = [subject.removeprefix(_KEYS) for subject in kept.state.subjects or {}]
            return {lane: await self._lane(bucket, lane, keys) for lane in Lane}
        except (*_FAILURES, ValueError) as error:
            raise Unavailable(f"the ledger cannot be read: {describe(error)}") from error

    async def _lane(self, bucket: KeyValue, lane: Lane, keys: Sequence[str]) -> Totals:
        waiting = await self._waiting(lane, "*")
        runs = {key.partition(".")[2] for key in keys if key.startswith(f"{lane}.")} | set(waiting)
        return total(await asyncio.gather(*[self._run(bucket, lane, run, run in waiting) for run in runs]))

    async def _run(self, bucket: KeyValue, lane: Lane, run: str, waits: bool) -> Totals:
        """First which bundles there are, then which wait, then which are settled: as each is recorded as settled
        before it leaves the stream, none can be missed in between."""
        key = subjects.ledger_key(lane, run)
        before, _ = await _account(bucket, key)
        if before.complete and not waits:
            return before.totals(0, before.highest, 0)
        newest = await self._newest(lane, run)
        waiting = (await self._waiting(lane, run)).get(run, 0)
        account, _ = await _account(bucket, key)
        if newest is None or newest.number < before.highest:
            return account.totals(0, before.highest, waiting)
        return account.totals(newest.messages_before + len(newest), newest.number, waiting)

    async def _waiting(self, lane: Lane, run: str) -> dict[str, int]:
        """How many bundles of each run are in the lane's stream; run "*" asks for all."""
        stream, subject = subjects.bundle_stream(self._shard, lane), subjects.bundles(self._shard, lane, run)
        info = await self._connection.jetstream().stream_info(stream, subjects_filter=subject)
        return {name.rpartition(".")[2]: count for name, count in (info.state.subjects or {}).items()}

    async def _newest(self, lane: Lane, run: str) -> bundle.Bundle | None:
        """The last bundle of a run that is in the stream, if any is."""
        stream, subject = subjects.bundle_stream(self._shard, lane), subjects.bundles(self._shard, lane, run)
        try:
            last = await self._connection.jetstream().get_last_msg(stream, subject, direct=True)
        except NotFoundError:
            return None
        return bundle.decode(last.data or b"")

    async def _bucket(self) -> KeyValue:
        self._connection.require_connected()
        return await self._connection.jetstream(timeout=_ANSWER_WITHIN_S).key_value(subjects.LEDGER_BUCKET)


async def _settle(bucket: KeyValue, key: str, entries: Sequence[Settled]) -> bool:
    """Whether it is done; False when another writer was faster."""
    account, revision = await _account(bucket, key)
    if not account.settle(entries):
        return True
    try:
        await bucket.update(key, account.to_json(), last=revision)
    except KeyWrongLastSequenceError:
        return False
    return True


async def _account(bucket: KeyValue, key: str) -> tuple[Account, int]:
    """The account and its revision; an empty one and 0 when there is none."""
    try:
        entry = await bucket.get(key)
    except KeyNotFoundError:
        return Account(), 0
    return Account.from_json(entry.value or b""), entry.revision or 0
