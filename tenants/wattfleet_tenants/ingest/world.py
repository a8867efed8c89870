"""What the ingest needs of the broker, as two small protocols; `adapters/` fulfil them."""

from collections.abc import Callable
from typing import Protocol

from wattfleet_tenants.adapters.bulk_connection import Received
from wattfleet_tenants.subjects import Lane


class Edge(Protocol):
    """The account of the homes."""

    @property
    def is_connected(self) -> bool:
        """Whether the server is there."""
        ...

    async def take_from(self, subject: str, queue: str, take: Callable[[Received], None]) -> None:
        """Hands what arrives on `subject` to `take`, which must not raise. Returns once that is in force; raises
        Unavailable."""
        ...

    async def stop_taking(self) -> None:
        """Returns when nothing arrives any more."""
        ...

    def send_now(self, commands: bytes) -> bool:
        """Sends protocol lines (`PUB …`); False, and nothing is sent, while the server is away or slow."""
        ...

    async def send(self, commands: bytes) -> None:
        """The same, but waits until it is possible."""
        ...


class Streams(Protocol):
    """The streams of the shard's lanes."""

    async def publish(self, lane: Lane, run: str, number: int, payload: bytes) -> int:
        """Returns when the bundle is in the stream: its position there. Published twice it is there once.

        Raises StreamFull when the stream did not take it, Unavailable when that is not known.
        """
        ...

    async def first_position(self, lane: Lane) -> int:
        """The position of the oldest bundle that is not settled, one past the last when all are. Raises Unavailable."""
        ...
