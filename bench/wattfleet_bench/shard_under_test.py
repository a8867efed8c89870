"""A whole shard as the platform runs it: broker, store, ingest and writer, real processes with production settings.

Everything lives in one temporary folder and goes with it; each process is stopped by its own id, however the run ends.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ledger import Totals
from wattfleet_tenants.permissions import Permissions
from wattfleet_tenants.testing.data_plane import IngestProcess, WriterProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.programs import Program
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics

from wattfleet_bench.blobs import REPLY_TOKEN
from wattfleet_bench.homes import Homes
from wattfleet_bench.publisher import Settings, settings_text

STORE_MEMORY = "2GB"
"""What the store may use for its caches; the tests' 256 MB would hold the index of a tenth of 600,000 series."""

_PUTS_AT_ONCE = 500
_LEDGER = ("sent", "stored", "quarantined", "pending", "lost")
_END_WITHIN_S = 2.0


@contextmanager
def running(*programs: Program) -> Iterator[None]:
    """Starts programs one after the other and stops them the other way round, whatever happens in between."""
    with ExitStack() as stack:
        for program in programs:
            stack.callback(_stop, program)
            program.start()
        yield


def _stop(program: Program) -> None:
    if program.running:
        program.stop()


def store(folder: Path, memory: str = STORE_MEMORY) -> VictoriaMetrics:
    """VictoriaMetrics with the platform's flags, but with as much memory as a server gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = VictoriaMetrics(folder)
    kept = [flag for flag in made.argv if not flag.startswith("-memory.")]
    made.argv = [*kept, f"-memory.allowedBytes={memory}"]
    return made


def quiet(program: Program) -> None:
    """Lets `program` log what production logs; tests log every message."""
    program.env = {**program.env, "WATTFLEET_LOG_LEVEL": "INFO"}


def metric(text: str, name: str) -> float:
    """The sum of all series of a metric in Prometheus' text, 0 when there is none."""
    return sum(map(float, re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))


class PublisherProcess:
    """The bare publisher as a process of its own; see `publisher`."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wattfleet_bench.publisher", settings_text(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._hear("connected")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def prepare(self, first_minute: int, minutes: int) -> int:
        """Has it make the messages of these minutes; returns how many."""
        self._tell({"do": "prepare", "first_minute": first_minute, "minutes": minutes})
        return int(self._hear("prepared")["messages"])

    def send(
        self, per_s: float | None = None, on_progress: Callable[[float, int], None] = lambda _at_s, _messages: None
    ) -> dict[str, Any]:
        """Has it send them; returns {began_s, ended_s, messages, refused}. Raises RuntimeError when it could not.

        per_s: messages a second, None for as fast as it may. on_progress: told, about five times a second, when (on
        the monotonic clock, s) how many messages were acknowledged.
        """
        self._tell({"do": "send", "per_s": per_s})
        while (event := self._read())["event"] == "sending":
            on_progress(event["at_s"], event["acknowledged"])
        if event["event"] != "sent":
            raise RuntimeError(f"the publisher: {event.get('reason', event)}")
        return event

    def close(self) -> None:
        """Ends it."""
        pipe(self._process.stdin).close()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_WITHIN_S)
        pipe(self._process.stdout).close()
        self._log.close()

    def _tell(self, order: Mapping[str, object]) -> None:
        stdin = pipe(self._process.stdin)
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()

    def _hear(self, event: str) -> dict[str, Any]:
        heard = self._read()
        if heard["event"] != event:
            raise RuntimeError(f"the publisher: {heard}")
        return heard

    def _read(self) -> dict[str, Any]:
        line = pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"the publisher ended: {Path(self._log.name).read_text()[-2000:]}")
        heard: dict[str, Any] = json.loads(line)
        return heard


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """A process's stream that was asked for, so it is there."""
    if stream is None:
        raise RuntimeError("the process has no such pipe")
    return stream


class ShardUnderTest:
    """`with ShardUnderTest(folder, homes) as shard:`: everything runs and the shard carries `homes`.

    writes: without it there is no writer and no store, and what is acknowledged stays in the streams.
    """

    def __init__(self, folder: Path, homes: Homes, *, writes: bool = True, memory: str = STORE_MEMORY) -> None:
        self.homes = homes
        self.folder = folder
        self.broker = ShardBroker(folder / "nats")
        self.ingest = IngestProcess(folder, self.broker)
        self.store = store(folder / "victoria-metrics", memory)
        self.writer = WriterProcess(folder, self.broker, self.store.url)
        for program in (self.ingest, self.writer):
            quiet(program)
        self._writes = writes
        self._stack = ExitStack()
        self._http = httpx.Client(timeout=30, trust_env=False)

    def __enter__(self) -> "ShardUnderTest":
        with ExitStack() as stack:
            stack.enter_context(self._http)
            stack.enter_context(running(self.broker.server))
            asyncio.run(self.broker.ensure())
            asyncio.run(assign(self.broker, self.homes.households()))
            stack.enter_context(running(self.ingest))
            if self._writes:
                stack.enter_context(running(self.store, self.writer))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def publisher(self, connections: int = 4, window: int = 20_000) -> PublisherProcess:
        """The bare publisher, sending for all homes in the EDGE account; ends with the shard."""
        creds = self.broker.edge_credentials("bare-publisher", bare_publisher(self.broker))
        settings = Settings(
            self.broker.url,
            str(creds),
            self.broker.shard,
            self.homes.count,
            self.homes.day_ms,
            self.homes.seed,
            connections,
            window,
        )
        return self.publisher_with(settings)

    def publisher_with(self, settings: Settings) -> PublisherProcess:
        """The same with settings of one's own."""
        made = PublisherProcess(settings, self.folder / "publisher.log")
        self._stack.callback(made.close)
        return made

    def pids(self) -> dict[str, int]:
        """The shard's processes by the names that results use."""
        pids = {"nats": self.broker.server.pid, "ingest": self.ingest.pid}
        return {**pids, "writer": self.writer.pid, "store": self.store.pid} if self._writes else pids

    def samples_handed(self) -> int:
        """How many samples the store has answered for, as the writer counts; the store's own count runs ahead."""
        name = "wattfleet_writer_samples_total"
        # All of its metrics would take the writer some ms: in a paced run, 3 % of what it costs.
        return int(metric(self._http.get(f"{self.writer.health_url}/metrics", params={"name[]": name}).text, name))

    def ledger(self) -> Totals:
        """The writer's account of all messages: sent = stored + quarantined + pending, and lost = 0."""
        text = self._http.get(f"{self.writer.health_url}/metrics").text
        return Totals(*(int(metric(text, f"wattfleet_ledger_{name}")) for name in _LEDGER))

    def quarantined(self) -> int:
        """How many messages lie in the quarantine."""
        return asyncio.run(_messages_in(self.broker, subjects.quarantine_stream(self.broker.shard)))


def bare_publisher(broker: ShardBroker) -> Permissions:
    """In EDGE: what the agents of all homes may together, for one user."""
    return Permissions(publish=(subjects.all_measurements(broker.shard),), subscribe=(f"_INBOX.*.{REPLY_TOKEN}.>",))


async def assign(broker: ShardBroker, households: list[HouseholdId]) -> None:
    """Makes the shard carry `households`: 4,600 a second, each on disk before it counts."""
    async with broker.operator() as client:
        bucket = await client.jetstream(timeout=30).key_value(subjects.HOUSEHOLDS_BUCKET)
        for first in range(0, len(households), _PUTS_AT_ONCE):
            await asyncio.gather(*[bucket.put(one, b"") for one in households[first : first + _PUTS_AT_ONCE]])


async def _messages_in(broker: ShardBroker, stream: str) -> int:
    async with broker.operator() as client:
        info = await client.jetstream().stream_info(stream)
        return info.state.messages
