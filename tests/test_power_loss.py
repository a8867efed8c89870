"""Power loss of the broker's machine: what an ingest answered "ok" to is on the disk, not in the memory before it.

JetStream's folder is an ext4 file system of its own, in a file behind a loop device. At some moment under load the
server is stopped and the file system is told to shut down at once without writing anything more, neither its journal
nor its data. From then on the file below it is what a disk holds when the power goes: all that was written to the
device, nothing that was only in the file system's cache. A copy of it is mounted, its journal recovered, and a server
started on it. That the method sees losses is shown by the same with JetStream's own default, which syncs every two
minutes: there, acknowledged messages are gone.

What a disk forgets although it said that it had flushed its own cache is not shown by this.
"""

import asyncio
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from wattfleet_tenants import subjects
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.permissions import Permissions
from wattfleet_tenants.reading import INTERVAL_MS, interval_start
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.data_plane import IngestProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.waiting import eventually, wait_until
from wattfleet_tenants.wire import bundle, codec
from wattfleet_tenants.wire.receipts import ACKNOWLEDGED

HOMES = 20
DISK_BYTES = 8 * 2**30
"""What the streams reserve must fit into three quarters of it; the file has holes and takes some megabytes."""
UNANSWERED_AT_MOST = 2_000
ANSWERED_WITHIN_S = 20
SYNC_ALWAYS = ", sync_interval: always"

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NEITHER_JOURNAL_NOR_DATA = struct.pack("I", 2)

Sent = tuple[HouseholdId, int]


class CannotMount(Exception):
    """This machine does not let us mount a file; says why."""


@dataclass
class Disk:
    """An ext4 file system in a file, mounted at `folder`."""

    image: Path
    folder: Path
    _device: str = ""

    def make(self) -> None:
        if os.geteuid() != 0:
            raise CannotMount("mounting a file needs root")
        if not shutil.which("mkfs.ext4") or not shutil.which("losetup"):
            raise CannotMount("mkfs.ext4 or losetup is not installed")
        with self.image.open("wb") as file:
            file.truncate(DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1", self.image)
        self.folder.mkdir()
        self.mount()

    def mount(self) -> None:
        self._device = _run("losetup", "--find", "--show", self.image).strip()
        _run("mount", "-t", "ext4", "-o", "noinit_itable", self._device, self.folder)

    def cut_power(self) -> None:
        """From now on nothing reaches the file any more; what was on its way to it already arrives."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, _NEITHER_JOURNAL_NOR_DATA)
        finally:
            os.close(descriptor)
        in_flight = Path("/sys/block") / Path(self._device).name / "inflight"
        wait_until(lambda: in_flight.read_text().split() == ["0", "0"], 10, "the device has no request on its way")

    def replace_by_copy(self) -> None:
        """What the file holds, before anything else looks at it, is another disk, mounted in its place."""
        copy = self.image.with_name(f"{self.image.name}-after")
        _run("cp", "--sparse=always", self.image, copy)
        self.unmount()
        self.image = copy
        self.mount()

    def unmount(self) -> None:
        if os.path.ismount(self.folder):
            _run("umount", self.folder)
        if self._device:
            _run("losetup", "--detach", self._device)
            self._device = ""


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise CannotMount(f"{command[0]}: {done.stderr.strip()[:200]}")
    return done.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk.img", tmp_path / "disk")
    try:
        try:
            disk.make()
        except CannotMount as reason:
            pytest.skip(f"no power loss can be simulated here: {reason}")
        yield disk
    finally:
        disk.unmount()
        for image in tmp_path.glob("disk.img*"):
            image.unlink()


@dataclass
class Load:
    """Homes that send as fast as they are answered, over one connection."""

    broker: ShardBroker
    households: list[HouseholdId] = field(default_factory=lambda: [mint_household_id() for _ in range(HOMES)])
    sent: set[Sent] = field(default_factory=set)
    acknowledged: set[Sent] = field(default_factory=set)
    first_ms: int = field(default_factory=lambda: interval_start(int(time.time() * 1000)))

    def message(self, sequence: int) -> bytes:
        """Fresh, so that each home's first one goes into the live lane and the others into the backlog's."""
        return message(sequence, self.first_ms + sequence * INTERVAL_MS, (sequence % 1000 / 10, 4.5))

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        shard = self.broker.shard
        allowed = Permissions(publish=(subjects.all_measurements(shard),), subscribe=("_INBOX.*.power.*",))
        async with self.broker.connection(self.broker.edge_credentials("homes", allowed)) as client:
            await client.subscribe("_INBOX.*.power.*", cb=self._hear)
            sending = asyncio.create_task(self._send(client))
            try:
                yield
            finally:
                await eventually(lambda: client.is_closed, 10, "all that the server had said is heard")
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, client: Client) -> None:
        for sequence in count(1):
            payload = self.message(sequence)
            for household in self.households:
                self.sent.add((household, sequence))
                subject = subjects.measurements(self.broker.shard, household)
                await client.publish(subject, payload, reply=f"_INBOX.{household}.power.{sequence}")
            while len(self.sent) - len(self.acknowledged) > UNANSWERED_AT_MOST:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def _hear(self, answer: Msg) -> None:
        if answer.data == ACKNOWLEDGED:
            _, household, _, sequence = answer.subject.split(".")
            self.acknowledged.add((HouseholdId(household), int(sequence)))


@pytest.mark.parametrize("moment", [1, 2])
async def test_what_was_acknowledged_survives_a_power_loss(disk: Disk, tmp_path: Path, moment: int) -> None:
    broker = broker_on(disk, tmp_path)
    try:
        load = await power_lost_under_load(broker, disk, tmp_path, moment)
        kept = await in_streams(load)
        assert len(load.acknowledged) > 1_000
        assert load.acknowledged - kept == set()
        assert kept <= load.sent
        assert set(load.households) <= await assigned(broker)
    finally:
        end(broker)


async def test_without_sync_the_same_power_loss_loses_what_was_acknowledged(disk: Disk, tmp_path: Path) -> None:
    broker = broker_on(disk, tmp_path)
    with_default_sync(broker)
    try:
        load = await power_lost_under_load(broker, disk, tmp_path, moment=3)
        assert len(load.acknowledged) > 1_000
        assert load.acknowledged - await in_streams(load)
    finally:
        end(broker)


def broker_on(disk: Disk, folder: Path) -> ShardBroker:
    """A broker whose JetStream folder lies on `disk`, and nothing else of it."""
    broker = ShardBroker(folder / "nats")
    (folder / "nats" / "jetstream").symlink_to(disk.folder)
    return broker


def with_default_sync(broker: ShardBroker) -> None:
    config = Path(broker.server.argv[-1])
    text = config.read_text()
    assert SYNC_ALWAYS in text
    config.write_text(text.replace(SYNC_ALWAYS, ""))


async def power_lost_under_load(broker: ShardBroker, disk: Disk, folder: Path, moment: int) -> Load:
    """Returns when the broker runs again on what the disk held. moment: chooses when the power goes."""
    load, ingest = Load(broker), IngestProcess(folder, broker)
    dice = random.Random(moment)
    broker.start()
    await broker.ensure()
    await broker.assign(*load.households)
    ingest.start()
    try:
        async with load.sending():
            enough = dice.randint(2_000, 10_000)
            await eventually(lambda: len(load.acknowledged) > enough, ANSWERED_WITHIN_S, f"{enough} are acknowledged")
            await asyncio.sleep(dice.uniform(0, 0.05))
            lose_power(broker, disk)
    finally:
        ingest.kill()
    disk.replace_by_copy()
    broker.start()
    return load


def lose_power(broker: ShardBroker, disk: Disk) -> None:
    """The server says nothing more, then its disk takes nothing more, then it is gone."""
    os.kill(broker.server.pid, signal.SIGSTOP)
    disk.cut_power()
    broker.server.kill()


async def in_streams(load: Load) -> set[Sent]:
    """Every message in the shard's streams; each is asserted to be as it was sent."""
    found: set[Sent] = set()
    async with load.broker.operator() as client:
        js = client.jetstream()
        for lane in subjects.Lane:
            stream = subjects.bundle_stream(load.broker.shard, lane)
            with suppress(NotFoundError):
                state = (await js.stream_info(stream)).state
                for position in range(max(1, state.first_seq), state.last_seq + 1):
                    kept = await js.get_msg(stream, position, direct=True)
                    found |= messages_in(bundle.decode(kept.data or b""), load)
    return found


def messages_in(packed: bundle.Bundle, load: Load) -> set[Sent]:
    found = set()
    for household, payload in packed.each():
        sequence = codec.decode(payload).sequence
        assert payload == load.message(sequence)
        found.add((HouseholdId(household.decode()), sequence))
    return found


async def assigned(broker: ShardBroker) -> set[str]:
    async with broker.operator() as client:
        bucket = await client.jetstream().key_value(subjects.HOUSEHOLDS_BUCKET)
        return set(await bucket.keys())


def end(broker: ShardBroker) -> None:
    """Before the disk is unmounted."""
    if broker.server.running:
        broker.server.kill()
