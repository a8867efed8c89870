"""A shard carries the readings of some thousands of households: two streams, one store, its writers and readers.

Its id is a NATS subject token and a part of account, stream and process names.
"""

import re
from typing import NewType

ShardId = NewType("ShardId", str)

SHARD_ID_PATTERN = r"^[a-z][a-z0-9]{0,15}$"
_SHARD_ID = re.compile(r"[a-z][a-z0-9]{0,15}")


def parse_shard_id(text: str) -> ShardId:
    """The shard id that `text` is; raises ValueError when it does not have the form of one."""
    if not _SHARD_ID.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a shard id: it must match {SHARD_ID_PATTERN}")
    return ShardId(text)
