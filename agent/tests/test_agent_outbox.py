import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from agent_helpers import minute
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from wattfleet_agent.outbox import KEEP_SENT_MS, Outbox
from wattfleet_agent.outbox_file import lock
from wattfleet_agent.sequence_reserve import RESERVED_AT_ONCE
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.wire import codec

FAR_MS = 2**53


class Ticking:
    """A clock that tests turn."""

    now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_sequence_numbers_count_up_by_one_and_are_in_the_messages(tmp_path: Path, household: HouseholdId) -> None:
    outbox = Outbox(tmp_path / "o.db", household)
    assert outbox.append([minute(0, 12.3, None)]).sequences == range(1, 2)
    assert outbox.append([minute(1), minute(2)]).sequences == range(2, 4)
    messages = [codec.decode(waiting.message) for waiting in outbox.waiting(None, FAR_MS, 10)]
    assert [message.sequence for message in messages] == [1, 2, 3]
    assert messages[0].power_w == (12.3, None)


def test_a_number_is_not_used_again_after_the_outbox_was_emptied(tmp_path: Path, household: HouseholdId) -> None:
    clock = Ticking()
    outbox = Outbox(tmp_path / "o.db", household, clock=clock)
    outbox.append([minute(0), minute(1)])
    outbox.acknowledge([1, 2])
    clock.now_s += KEEP_SENT_MS / 1000 + 1
    assert outbox.append([minute(2)]).sequences == range(3, 4)
    assert outbox.state().kept == 0


def test_a_minute_is_recorded_once(tmp_path: Path, household: HouseholdId) -> None:
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(0)])
    appended = outbox.append([minute(1), minute(0), minute(1)])
    assert (list(appended.sequences), appended.repeated) == ([2], 2)


def test_a_full_outbox_keeps_the_oldest_and_refuses_the_new(tmp_path: Path, household: HouseholdId) -> None:
    outbox = Outbox(tmp_path / "o.db", household, most_messages=3)
    appended = outbox.append([minute(i) for i in range(5)])
    assert (len(appended.sequences), appended.refused) == (3, 2)
    assert [w.sequence for w in outbox.waiting(None, FAR_MS, 10)] == [1, 2, 3]
    outbox.acknowledge([2])
    # What was acknowledged makes room, what waits does not; a refused minute may come again.
    assert outbox.append([minute(3), minute(4)]).refused == 1
    assert [w.sequence for w in outbox.waiting(None, FAR_MS, 10)] == [1, 3, 4]


def test_what_was_sent_is_kept_for_48_hours_and_can_be_sent_again(tmp_path: Path, household: HouseholdId) -> None:
    clock = Ticking()
    outbox = Outbox(tmp_path / "o.db", household, clock=clock)
    outbox.append([minute(i) for i in range(4)])
    before = outbox.waiting(None, FAR_MS, 10)
    outbox.acknowledge([1, 2, 3])
    clock.now_s += KEEP_SENT_MS / 1000 - 1
    assert outbox.send_again(minute(1).interval_start_ms) == 2
    assert outbox.waiting(None, FAR_MS, 10) == before[1:]
    assert outbox.send_again(0) == 1


def test_minutes_of_a_wrong_clock_are_withdrawn_and_may_be_recorded_again(
    tmp_path: Path, household: HouseholdId
) -> None:
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(5)])
    first = outbox.next_sequence
    outbox.append([minute(6), minute(100), minute(101)])
    now_ms = minute(6).interval_start_ms + INTERVAL_MS + 500
    assert outbox.withdraw(first, now_ms) == 2
    assert [w.sequence for w in outbox.waiting(None, FAR_MS, 10)] == [1, 2]
    assert outbox.append([minute(100)]).sequences == range(5, 6)


def test_nothing_is_half_stored_when_a_value_does_not_fit_the_wire(tmp_path: Path, household: HouseholdId) -> None:
    outbox = Outbox(tmp_path / "o.db", household)
    with pytest.raises(ValueError, match="does not fit"):
        outbox.append([minute(0), minute(1, 1e12)], bookmark="here")
    assert outbox.state().waiting == 0
    assert outbox.bookmark == ""
    assert outbox.append([minute(0)]).sequences == range(1, 2)


def test_an_outbox_of_another_household_is_refused(tmp_path: Path, household: HouseholdId) -> None:
    Outbox(tmp_path / "o.db", household).close()
    with pytest.raises(ValueError, match=f"belongs to household {household}"):
        Outbox(tmp_path / "o.db", mint_household_id())


def test_only_one_agent_works_on_an_outbox(tmp_path: Path) -> None:
    with lock(tmp_path / "o.db"), pytest.raises(OSError, match="another agent"):
        lock(tmp_path / "o.db")
    lock(tmp_path / "o.db").close()


@pytest.mark.parametrize("damage", ["text", "pages", "empty"])
def test_a_damaged_outbox_is_moved_aside_and_counting_goes_on_above(
    tmp_path: Path, household: HouseholdId, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "o.db"
    outbox = Outbox(path, household)
    outbox.append([minute(i) for i in range(500)])
    outbox.close()
    content = path.read_bytes()
    broken = {"text": b"not a database\n" * 99, "pages": content[:4096] + b"\xff" * (len(content) - 4096), "empty": b""}
    path.write_bytes(broken[damage])
    again = Outbox(path, household)
    assert again.append([minute(0)]).sequences[0] == 500 + RESERVED_AT_ONCE
    if damage != "empty":
        (aside,) = [p for p in tmp_path.iterdir() if "damaged" in p.name]
        assert aside.read_bytes() == broken[damage]
        assert "outbox damaged, moved aside" in caplog.text


def test_a_lost_outbox_counts_on_above_what_it_had_used(tmp_path: Path, household: HouseholdId) -> None:
    path = tmp_path / "o.db"
    Outbox(path, household).append([minute(0)])
    for part in ("o.db", "o.db-wal", "o.db-shm"):
        (tmp_path / part).unlink(missing_ok=True)
    assert Outbox(path, household).next_sequence == 1 + RESERVED_AT_ONCE


def test_with_both_files_damaged_counting_goes_on_from_the_time(tmp_path: Path, household: HouseholdId) -> None:
    (tmp_path / "o.db").write_text("nonsense " * 1000)
    (tmp_path / "o.db.sequence").write_text("nonsense")
    assert Outbox(tmp_path / "o.db", household).next_sequence > 1_700_000_000


def test_a_damaged_outbox_is_not_touched_when_it_may_not_be_repaired(tmp_path: Path, household: HouseholdId) -> None:
    path = tmp_path / "o.db"
    with pytest.raises(FileNotFoundError, match="no outbox"):
        Outbox(path, household, repair=False)
    path.write_text("nonsense " * 1000)
    with pytest.raises(OSError, match="damaged"):
        Outbox(path, household, repair=False)
    assert path.read_text().startswith("nonsense")


def test_only_its_owner_reads_the_outbox(tmp_path: Path, household: HouseholdId) -> None:
    Outbox(tmp_path / "o.db", household)
    assert (tmp_path / "o.db").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_full_stores_nothing_by_halves(tmp_path: Path, household: HouseholdId) -> None:
    outbox = Outbox(tmp_path / "o.db", household)
    outbox.append([minute(0)])
    (pages,) = outbox._database.execute("PRAGMA page_count").fetchone()
    outbox._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        outbox.append([minute(i) for i in range(1, 2000)])
    assert outbox.state().waiting == 1
    outbox._database.execute("PRAGMA max_page_count = 100000")
    assert outbox.append([minute(1)]).sequences == range(2, 3)


_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from agent_helpers import minute
from wattfleet_agent.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), sys.argv[2])
index = outbox.next_sequence
while True:
    appended = outbox.append([minute(index), minute(index + 1)])
    print(appended.sequences[-1], flush=True)
    index += 2
"""


def test_everything_that_was_stored_survives_kill_9(tmp_path: Path, household: HouseholdId) -> None:
    path, here = tmp_path / "o.db", str(Path(__file__).parent)
    for lines in (1, 7, 30):
        argv = [sys.executable, "-c", _WRITER, str(path), household, here]
        writer = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        stored = [int(writer.stdout.readline()) for _ in range(lines)][-1]
        writer.kill()
        writer.wait()
        writer.stdout.close()
        outbox = Outbox(path, household)
        sequences = [waiting.sequence for waiting in outbox.waiting(None, FAR_MS, 10_000)]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) >= stored
        outbox.close()


class OutboxModel(RuleBasedStateMachine):
    """The outbox against plain dictionaries, with its process dying in between."""

    most = 12

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.household = mint_household_id()
        self.clock = Ticking()
        self.waiting: dict[int, int] = {}
        self.kept: dict[int, tuple[int, float]] = {}
        self.recorded: set[int] = set()
        self.next = 1
        self.outbox = self.open()

    def open(self) -> Outbox:
        return Outbox(self.folder / "o.db", self.household, self.most, self.clock)

    @rule(indices=st.lists(st.integers(0, 60), max_size=6), once=st.booleans())
    def append(self, indices: list[int], once: bool) -> None:
        appended = self.outbox.append([minute(index) for index in indices], once=once)
        wanted = [i for i in dict.fromkeys(indices) if i not in self.recorded] if once else indices
        oldest_s = self.clock() - KEEP_SENT_MS / 1000
        self.kept = {sequence: what for sequence, what in self.kept.items() if what[1] >= oldest_s}
        excess = len(self.waiting) + len(self.kept) + len(wanted) - self.most
        for sequence in sorted(self.kept)[: max(0, excess)]:
            del self.kept[sequence]
        taken = wanted[: max(0, self.most - len(self.waiting))]
        assert appended.sequences == range(self.next, self.next + len(taken))
        assert (appended.repeated, appended.refused) == (len(indices) - len(wanted), len(wanted) - len(taken))
        self.waiting |= dict(zip(appended.sequences, taken, strict=True))
        self.recorded |= set(taken) if once else set()
        self.next += len(taken)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.integers(0, self.next + 3), unique=True, max_size=8))
        assert self.outbox.acknowledge(some) == len(self.waiting.keys() & set(some))
        for sequence in self.waiting.keys() & set(some):
            self.kept[sequence] = (self.waiting.pop(sequence), self.clock())

    @rule(since=st.integers(0, 60))
    def send_again(self, since: int) -> None:
        again = {sequence: index for sequence, (index, _) in self.kept.items() if index >= since}
        assert self.outbox.send_again(minute(since).interval_start_ms) == len(again)
        self.waiting |= again
        self.kept = {sequence: what for sequence, what in self.kept.items() if sequence not in again}

    @rule(back=st.integers(0, 12), now=st.integers(0, 61))
    def withdraw(self, back: int, now: int) -> None:
        first = max(1, self.next - back)
        gone = {s: index for s, index in self.waiting.items() if s >= first and index >= now}
        assert self.outbox.withdraw(first, minute(now).interval_start_ms + 999) == len(gone)
        self.waiting = {s: index for s, index in self.waiting.items() if s not in gone}
        self.recorded -= set(gone.values())

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.clock.now_s += hours * 3600

    @rule()
    def its_process_dies(self) -> None:
        # What is on disk now is what a killed process leaves; the old connection does nothing more.
        copy = self.folder / "copy"
        copy.mkdir()
        for part in self.folder.glob("o.db*"):
            shutil.copy(part, copy)
        self.outbox.close()
        for part in copy.iterdir():
            part.replace(self.folder / part.name)
        copy.rmdir()
        self.outbox = self.open()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        waiting = self.outbox.waiting(None, FAR_MS, 1000)
        assert {w.sequence: w.interval_start_ms for w in waiting} == {
            sequence: minute(index).interval_start_ms for sequence, index in self.waiting.items()
        }
        assert [(w.interval_start_ms, w.sequence) for w in waiting] == sorted(
            (w.interval_start_ms, w.sequence) for w in waiting
        )
        assert all(codec.decode(w.message).sequence == w.sequence for w in waiting)
        assert self.outbox.next_sequence == self.next
        state = self.outbox.state()
        assert (state.waiting, state.kept) == (len(self.waiting), len(self.kept))
        newest = self.outbox.newest(FAR_MS)
        assert (newest.interval_start_ms if newest else None) == max(
            (w.interval_start_ms for w in waiting), default=None
        )

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.folder)


TestOutboxModel = OutboxModel.TestCase
TestOutboxModel.settings = settings(max_examples=25, stateful_step_count=20)
