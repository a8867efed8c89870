"""Live readings: while somebody watches, one a second, to whom the gateway's signed command names.

A command is a token that the gateway signed for this household, and nothing else; its reply subject must be one of the
gateway's inboxes. Every token is obeyed once. A lease ends by itself, and its messages are counted, so that an agent
never sends more than its NATS permission for answers allows. Up to four leases are served side by side: one per
gateway process that has a viewer, and a renewed one beside the one it replaces; a fifth ends the oldest.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from wattfleet_tenants import grants, subjects
from wattfleet_tenants.home_file import HomeFile
from wattfleet_tenants.permissions import LIVE_LEASE_S, LIVE_MESSAGES_PER_LEASE
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.wire import codec

from wattfleet_agent import metrics
from wattfleet_agent.sensors import Sample

logger = logging.getLogger(__name__)

MOST_LEASES = 4
# Twice what our tokens need.
_MOST_TOKEN_BYTES = 1024
_STALE_AFTER_MS = 2500
# The server counts a lease from before we do.
_LEASE_S = LIVE_LEASE_S - 0.5


class BadCommand(Exception):
    """A command that is not obeyed; its text is a short stable reason."""


@dataclass(slots=True)
class _Lease:
    reply: str
    ends_at_s: float
    messages_left: int = LIVE_MESSAGES_PER_LEASE


class Commands:
    """Decides which commands are obeyed. clock: Unix time in s."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._spent: dict[str, float] = {}

    def check(self, home: HomeFile, token: bytes, reply: str) -> None:
        """Returns when the command is to be obeyed, which it is once; raises BadCommand otherwise."""
        if not reply.startswith(f"{subjects.GATEWAY_INBOX}."):
            raise BadCommand("reply-subject")
        if len(token) > _MOST_TOKEN_BYTES or not token.isascii():
            raise BadCommand("not-a-token")
        try:
            granted = grants.verify(home.command_key, "agent", home.household, token.decode())
        except grants.NotGranted as error:
            raise BadCommand("not-granted") from error
        now_s = self._clock()
        # Ten seconds beyond its end: `verify` still takes a token 5 s late.
        self._spent = {nonce: until_s for nonce, until_s in self._spent.items() if until_s > now_s}
        if granted.nonce in self._spent:
            raise BadCommand("repeated")
        self._spent[granted.nonce] = granted.expires_at_s + 10


class Live:
    """Answers commands on one connection after the other. clock: monotonic, in s."""

    def __init__(self, commands: Commands, clock: Callable[[], float] = time.monotonic) -> None:
        self._commands = commands
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._latest: tuple[int, Sample] | None = None
        self._client: Client | None = None
        self._fresh = asyncio.Event()

    async def listen(self, client: Client, home: HomeFile) -> None:
        """Obeys commands that come over `client` from now on; leases of an earlier connection are over."""
        self._leases.clear()
        self._client = client

        async def obey(message: Msg) -> None:
            await self.obey(home, message.data, message.reply)

        await client.subscribe(subjects.commands(home.household), cb=obey)

    async def obey(self, home: HomeFile, token: bytes, reply: str) -> None:
        """Opens or renews a lease for `reply`, and answers it at once when there is a fresh sample."""
        try:
            self._commands.check(home, token, reply)
        except BadCommand as error:
            metrics.BAD_COMMANDS.labels(str(error)).inc()
            logger.warning("command not obeyed", extra={"household": home.household, "reason": str(error)})
            return
        self._leases.pop(reply, None)
        while len(self._leases) >= MOST_LEASES:
            del self._leases[next(iter(self._leases))]
        self._leases[reply] = lease = _Lease(reply, self._clock() + _LEASE_S)
        logger.info("live lease", extra={"household": home.household, "leases": len(self._leases)})
        if self._latest and time.time() * 1000 - self._latest[0] < _STALE_AFTER_MS:
            await self._send(lease, _message(*self._latest))

    def offer(self, at_ms: int, sample: Sample) -> None:
        """The sample of the moment `at_ms` is there for everybody who has a lease."""
        self._latest = (at_ms, sample)
        self._fresh.set()

    async def run(self) -> None:
        """Sends each sample to all leases, until cancelled."""
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            await self.send_latest()

    async def send_latest(self) -> None:
        """Sends the latest sample once to every lease that has not ended."""
        self._leases = {reply: lease for reply, lease in self._leases.items() if lease.ends_at_s > self._clock()}
        metrics.LIVE_LEASES.set(self.leases)
        if self._latest and self._leases:
            message = _message(*self._latest)
            for lease in list(self._leases.values()):
                await self._send(lease, message)

    @property
    def leases(self) -> int:
        """How many leases are open."""
        return len(self._leases)

    @property
    def newest_lease(self) -> str | None:
        """The reply subject of the lease that was opened or renewed last."""
        return next(reversed(self._leases), None)

    async def _send(self, lease: _Lease, message: bytes) -> None:
        if self._client is None or lease.messages_left <= 0:
            return
        lease.messages_left -= 1
        try:
            await self._client.publish(lease.reply, message)
        except (nats.errors.Error, OSError) as error:
            logger.debug("live reading not sent", extra={"error": str(error)})
            return
        metrics.LIVE_SENT.inc()


def _message(at_ms: int, sample: Sample) -> bytes:
    return codec.encode(HomeReadings(0, at_ms, sample.power_w, sample.temperature_c))
