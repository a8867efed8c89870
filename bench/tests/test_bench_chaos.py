"""Chaos: that its comparison sees every kind of damage, and a short run of it on real servers."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_bench.chaos.__main__ import main
from wattfleet_bench.chaos.comparison import MOST_EXAMPLES, Comparison, Place, compare, sent_by
from wattfleet_bench.chaos.homes import Load, chosen
from wattfleet_bench.chaos.kept import KeptProcess
from wattfleet_bench.chaos.outcome import Outcome
from wattfleet_bench.chaos.run import Chaos, Plan
from wattfleet_bench.chaos.schedule import Victim, schedule
from wattfleet_bench.chaos.wrong_readings import Wrong, differences
from wattfleet_bench.results import missed
from wattfleet_tenants import series
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ledger import Totals
from wattfleet_tenants.reading import INTERVAL_MS, HomeReadings
from wattfleet_tenants.testing.builders import A_MINUTE_MS, readings
from wattfleet_tenants.testing.victoria_metrics import Series
from wattfleet_tenants.testing.waiting import eventually

HOME = HouseholdId("h0123456789abcdefghij")
SOCKET_1 = (HOME, series.POWER, "1")
MINUTES = [A_MINUTE_MS + n * INTERVAL_MS for n in range(3)]
SENT = {SOCKET_1: {MINUTES[0]: 1.5, MINUTES[1]: 2.5, MINUTES[2]: -3.0}}

# A machine that is busy with its disk was seen to take half a minute to start Python.
STARTED_WITHIN_S = 90


def stored(place: Place, *samples: tuple[int, float]) -> Series:
    household, name, number = place
    of = "socket" if name == series.POWER else "thermometer"
    return Series(
        {"__name__": name, "household": household, of: number},
        [value for _, value in samples],
        [at_ms for at_ms, _ in samples],
    )


def all_stored(sent: Mapping[Place, Mapping[int, float]]) -> list[Series]:
    return [stored(place, *samples.items()) for place, samples in sent.items()]


# What is compared


def test_everything_as_it_was_sent_is_exact() -> None:
    found = compare(SENT, all_stored(SENT))
    assert found.exact
    assert found.sent == 3
    assert str(found) == "lost=0 doubled=0 changed=0"


def test_a_dropped_sample_is_lost_and_named() -> None:
    found = compare(SENT, [stored(SOCKET_1, (MINUTES[0], 1.5), (MINUTES[2], -3.0))])
    assert str(found) == "lost=1 doubled=0 changed=0"
    assert not found.exact
    assert HOME in found.examples[0]
    assert str(MINUTES[1]) in found.examples[0]


def test_a_series_that_is_not_there_is_lost_sample_by_sample() -> None:
    assert str(compare(SENT, [])) == "lost=3 doubled=0 changed=0"


def test_a_moment_that_is_there_twice_is_doubled_even_with_the_same_value() -> None:
    samples = [*SENT[SOCKET_1].items(), (MINUTES[1], 2.5)]
    assert str(compare(SENT, [stored(SOCKET_1, *samples)])) == "lost=0 doubled=1 changed=0"


def test_a_series_that_is_given_out_twice_is_doubled_sample_by_sample() -> None:
    assert str(compare(SENT, all_stored(SENT) * 2)) == "lost=0 doubled=3 changed=0"


def test_another_value_is_changed() -> None:
    samples = {**SENT[SOCKET_1], MINUTES[1]: 2.6}
    found = compare(SENT, [stored(SOCKET_1, *samples.items())])
    assert str(found) == "lost=0 doubled=0 changed=1"
    assert "2.5" in found.examples[0]
    assert "2.6" in found.examples[0]


@pytest.mark.parametrize(
    "place",
    [SOCKET_1, (HOME, series.POWER, "2"), (HOME, series.TEMPERATURE, "1"), (mint_household_id(), series.POWER, "1")],
)
def test_what_nobody_sent_is_changed(place: Place) -> None:
    found = compare(SENT, [*all_stored(SENT), stored(place, (MINUTES[2] + INTERVAL_MS, 1.0))])
    assert str(found) == "lost=0 doubled=0 changed=1"


damages = st.sampled_from(["none", "dropped", "doubled", "changed"])


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 2_000), damages), max_size=60))
def test_every_damage_is_counted(samples: list[tuple[int, int, str]]) -> None:
    unique = {(number, minute): damage for number, minute, damage in samples}
    sent: dict[Place, dict[int, float]] = {}
    found = []
    for (number, minute), damage in unique.items():
        place, at_ms = (HOME, series.POWER, str(number)), A_MINUTE_MS + minute * INTERVAL_MS
        sent.setdefault(place, {})[at_ms] = 7.5
        values = {"none": [7.5], "dropped": [], "doubled": [7.5, 7.5], "changed": [7.4]}[damage]
        found += [stored(place, (at_ms, value)) for value in values]
    comparison = compare(sent, found)
    counts = [list(unique.values()).count(damage) for damage in ("dropped", "doubled", "changed")]
    assert [comparison.lost, comparison.doubled, comparison.changed] == counts
    assert comparison.sent == len(unique)
    assert comparison.exact == (sum(counts) == 0)
    assert len(comparison.examples) == min(MOST_EXAMPLES, sum(counts))


def test_values_that_were_not_measured_are_not_expected() -> None:
    one = HomeReadings(1, A_MINUTE_MS, (1.0, None), (20.5,))
    assert sent_by(HOME, [one]) == {
        (HOME, series.POWER, "1"): {A_MINUTE_MS: 1.0},
        (HOME, series.TEMPERATURE, "1"): {A_MINUTE_MS: 20.5},
    }


def test_a_home_that_measured_a_minute_twice_is_not_compared() -> None:
    with pytest.raises(ValueError, match="twice"):
        sent_by(HOME, [readings(1), readings(2)])


def test_wrong_readings_must_be_in_quarantine_and_nothing_else() -> None:
    wrong = Wrong(HOME, "future", b"1")
    assert differences([wrong], [wrong, wrong]) == []
    assert "not in quarantine" in differences([wrong], [])[0]
    assert "not wrong" in differences([], [wrong])[0]
    assert len(differences([wrong], [replace(wrong, reason="foreign")])) == 2


# What comes of it

GOOD = Outcome(
    rounds=6,
    comparison=Comparison(sent=100),
    ledger=Totals(sent=13, stored=11, quarantined=2, pending=0, lost=0),
    messages=10,
    acknowledged=10,
    wrong=2,
    kills=20,
    own_ends=(),
    troubles=(),
    took_s=60.0,
    load_s=30.0,
)


def test_a_good_outcome_ends_with_three_zeros() -> None:
    assert GOOD.good
    lines = GOOD.as_text().splitlines()
    assert lines[-1] == "lost=0 doubled=0 changed=0"
    assert lines[-2] == "sent=13 stored=11 quarantined=2 pending=0 lost=0"
    assert missed(GOOD.results()) == []


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, comparison=Comparison(sent=100, lost=1, examples=("lost: that one",))),
        replace(GOOD, comparison=Comparison(sent=100, doubled=1)),
        replace(GOOD, comparison=Comparison(sent=100, changed=1)),
        replace(GOOD, ledger=None),
        replace(GOOD, ledger=Totals(sent=13, stored=10, quarantined=2, pending=1, lost=0)),
        replace(GOOD, ledger=Totals(sent=13, stored=10, quarantined=2, pending=0, lost=1)),
        replace(GOOD, ledger=Totals(sent=14, stored=11, quarantined=2, pending=0, lost=0)),
        replace(GOOD, ledger=Totals(sent=11, stored=9, quarantined=2, pending=0, lost=0)),
        replace(GOOD, ledger=Totals(sent=13, stored=12, quarantined=1, pending=0, lost=0)),
        replace(GOOD, troubles=("nothing is pending: not within 240 s",)),
    ],
)
def test_anything_else_is_not_good_and_is_told(bad: Outcome) -> None:
    assert not bad.good
    assert missed(bad.results())
    lines = bad.as_text().splitlines()
    assert lines[-1] == str(bad.comparison)
    assert bad.comparison.lost + bad.comparison.doubled + bad.comparison.changed or any(
        line.startswith("WRONG ") for line in lines
    )
    for example in bad.comparison.examples:
        assert f"NOT AS SENT {example}" in lines


# What is killed when


@given(st.integers(1, 200), st.integers())
def test_victims_come_in_turn_and_every_sixth_round_is_all_at_once(rounds: int, seed: int) -> None:
    plan = schedule(rounds, seed, (1.0, 3.0))
    assert plan == schedule(rounds, seed, (1.0, 3.0))
    assert [one.victim for one in plan[:6]] == list(Victim)[:rounds]
    assert all((one.victim is Victim.ALL) == (one.number % 6 == 0) for one in plan)
    assert [one.number for one in plan] == list(range(1, rounds + 1))
    assert all(1.0 <= one.pause_s <= 3.0 and 0.0 <= one.choice <= 1.0 for one in plan)
    assert all(one.again_after_s is None or 0.0 <= one.again_after_s <= 1.5 for one in plan)


def test_one_or_all_processes_of_agents_are_chosen() -> None:
    homes = ["a", "b", "c"]
    picked = [tuple(chosen(homes, choice)) for choice in (0.0, 0.3, 0.6, 0.9, 0.999)]  # type: ignore[arg-type]
    assert picked == [("a",), ("b",), ("c",), ("a", "b", "c"), ("a", "b", "c")]


async def test_a_kept_process_comes_back_whatever_ends_it_and_takes_its_children_along(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # One write each: unbuffered, `print` makes two, and those of parent and child mix.
    script = "import os, time; os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"
    process = KeptProcess("sleeper", [sys.executable, "-c", script], os.environ, log)
    process.keep()

    def pids() -> list[int]:
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    await eventually(lambda: len(pids()) == 2, STARTED_WITHIN_S, "parent and child run")
    process.kill()
    await eventually(lambda: len(pids()) == 4, STARTED_WITHIN_S, "both run again")
    assert not any(map(is_alive, pids()[:2]))
    assert process.own_ends == []
    os.kill(process_leader(pids()[2:]), signal.SIGTERM)
    await eventually(lambda: len(pids()) >= 5, STARTED_WITHIN_S, "it runs once more")
    assert process.own_ends == [-signal.SIGTERM]
    await process.end()
    assert not process.running


def process_leader(pids: list[int]) -> int:
    return next(pid for pid in pids if os.getpgid(pid) == pid)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("rounds", ["0", "-1", "many", "1001"])
def test_wrong_rounds_are_refused(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--rounds", rounds])
    assert refused.value.code == 2
    assert "number of rounds" in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").touch()
    assert main(["--folder", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


# Real servers

SHORT_LOAD = Load(groups=1, agents=20, interval_s=0.2, at_home=1, history_days=14)
SHORT_ACK_WAIT_S = 25.0
"""Production's 60 s would only make the end wait; it must be longer than the writer holds acknowledgements, 20 s."""


def test_nothing_is_lost_doubled_or_changed_when_each_part_is_killed_and_then_all(tmp_path: Path) -> None:
    plan = Plan(rounds=6, seed=4, load=SHORT_LOAD, pause_s=(0.5, 3.0), ack_wait_s=SHORT_ACK_WAIT_S)
    outcome = asyncio.run(Chaos(plan, tmp_path, print).run())
    print(outcome.as_text())
    assert outcome.good, outcome.as_text()
    assert outcome.kills >= 5 + 6
    assert outcome.comparison.sent > 20_000
    assert outcome.messages == outcome.acknowledged
    assert outcome.wrong >= 5
