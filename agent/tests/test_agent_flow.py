import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_agent import answers
from wattfleet_agent.backoff import Backoff
from wattfleet_agent.window import MOST_IN_FLIGHT, Window
from wattfleet_tenants.home_file import HomeFile, read_home_file, write_home_file
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.shard import ShardId


@pytest.mark.parametrize(
    ("headers", "body", "verdict"),
    [
        (None, b"ok", answers.STORED),
        (None, b"full", answers.FULL),
        (None, b"busy", answers.BUSY),
        ({"Status": "503"}, b"", "no-responders"),
        ({"Status": "503"}, b"ok", "no-responders"),
        (None, b"", "unreadable"),
        (None, b"OK", "unreadable"),
        (None, b"ok\n", "unreadable"),
        (None, b"\xff", "unreadable"),
        (None, b'{"stream":"M-s1","seq":7}', "unreadable"),
    ],
)
def test_only_a_receipt_counts_as_stored(headers: dict[str, str], body: bytes, verdict: str) -> None:
    assert answers.verdict(headers, body) == verdict


@given(st.binary(max_size=60))
def test_no_answer_breaks_the_agent(body: bytes) -> None:
    assert answers.verdict(None, body) in (answers.STORED, answers.FULL, answers.BUSY, "unreadable")


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60))
def test_waits_are_jittered_grow_and_stay_bounded(chances: list[float]) -> None:
    backoff = Backoff(0.5, 30.0, iter(chances * 2).__next__)
    for turn, chance in enumerate(chances):
        assert backoff.next_s() == min(30.0, 0.5 * 2**turn) * chance
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_a_wait_can_be_capped_for_one_reason() -> None:
    backoff = Backoff(0.5, 30.0, lambda: 1.0)
    assert [backoff.next_s(2.0) for _ in range(5)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert backoff.next_s() == 16.0


def test_a_window_opens_with_acknowledgements_and_closes_on_a_refusal() -> None:
    window = Window()
    sequence = 0
    for _ in range(2000):
        for _ in range(window.room):
            sequence += 1
            window.sent(sequence)
        assert len(window) <= MOST_IN_FLIGHT
        window.acknowledged(min(window._sent_at_s))
    assert MOST_IN_FLIGHT / 2 <= len(window) <= MOST_IN_FLIGHT
    window.failed(sequence)
    assert window.room == 0
    assert window.give_up_all() > 0
    assert window.room == 1


def test_what_is_not_answered_in_time_is_given_up() -> None:
    now_s = [0.0]
    window = Window(lambda: now_s[0])
    window.sent(1)
    now_s[0] = 6.0
    window.sent(2)
    now_s[0] = 10.5
    assert window.give_up_late() == 1
    assert 1 not in window
    assert 2 in window


@pytest.fixture
def written(tmp_path: Path, household: HouseholdId) -> Path:
    """A home file as the platform writes it."""
    path = tmp_path / "home.json"
    write_home_file(path, HomeFile(household, ShardId("s1"), (), "", "", send_phase_ms=59_900))
    return path


def test_a_home_file_says_when_in_the_minute_the_home_sends(written: Path) -> None:
    assert read_home_file(written).send_phase_ms == 59_900


@pytest.mark.parametrize("wrong", [-1, 60_000, "5", 1.5, True, None])
def test_a_phase_outside_of_the_minute_is_named(written: Path, wrong: object) -> None:
    written.write_text(json.dumps(json.loads(written.read_text()) | {"send_phase_ms": wrong}))
    with pytest.raises(ValueError, match="field 'send_phase_ms'"):
        read_home_file(written)


def test_homes_of_an_older_platform_are_spread_over_the_minute_each_always_at_its_place(written: Path) -> None:
    fields = json.loads(written.read_text())
    del fields["send_phase_ms"]

    def phase_ms() -> int:
        written.write_text(json.dumps(fields | {"household": mint_household_id()}))
        assert read_home_file(written) == read_home_file(written)
        return read_home_file(written).send_phase_ms

    phases = [phase_ms() for _ in range(2000)]
    in_each_tenth = [sum(1 for phase in phases if phase // 6000 == tenth) for tenth in range(10)]
    assert sum(in_each_tenth) == 2000
    assert min(in_each_tenth) > 120
