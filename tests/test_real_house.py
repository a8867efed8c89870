"""A recorded house goes through agent, broker, writer, store, reader and gateway, and comes out as it went in."""

import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import recorded_house
from running_platform import ALICE, RunningPlatform
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.testing.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not recorded_house.FILE.exists(), reason=f"the recorded house is not at {recorded_house.FILE}"
)

MINUTES = 37_283
REPLAY_WITHIN_S = 240
STORED_WITHIN_S = 90


@pytest.fixture(scope="module")
def household(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> HouseholdId:
    """The house of the recording, replayed once."""
    household = platform.add_home("The recorded house", ALICE, recorded_house.SOCKETS, recorded_house.TIME_ZONE)
    replay(platform, household, tmp_path_factory.mktemp("first"))
    wait_until(
        lambda: sum(map(len, platform.stored(household).values())) >= 4 * MINUTES,
        STORED_WITHIN_S,
        "all samples stored",
    )
    return household


def replay(platform: RunningPlatform, household: HouseholdId, folder: Path) -> None:
    home = platform.home_file(household)
    argv = ["replay", recorded_house.FILE, "--home", home, "--time-zone", recorded_house.TIME_ZONE]
    argv += ["--outbox", folder / "outbox.db"]
    subprocess.run([sys.executable, "-m", "wattfleet_agent", *map(str, argv)], check=True, timeout=REPLAY_WITHIN_S)


def test_every_sample_of_the_file_is_stored_once_with_its_value(
    platform: RunningPlatform, household: HouseholdId
) -> None:
    zone = ZoneInfo(recorded_house.TIME_ZONE)
    sent: dict[str, dict[int, float]] = {str(number): {} for number in range(1, 5)}
    for at, energies_wh in recorded_house.minutes():
        at_ms = round(at.replace(tzinfo=zone).timestamp() * 1000)
        for number, energy_wh in enumerate(energies_wh, 1):
            sent[str(number)][at_ms] = round(energy_wh * 60, 1)
    assert platform.stored(household) == sent


def test_every_day_s_energy_equals_the_file_s_to_a_tenth_of_a_watt_hour(
    platform: RunningPlatform, household: HouseholdId
) -> None:
    expected = recorded_house.energy_by_day()
    first, last = min(expected), max(expected)
    with platform.signed_in(ALICE) as alice:
        answer = alice.get(
            f"/api/v1/households/{household}/readings/energy",
            params={"start": str(first), "end": str(last + timedelta(days=1)), "by": "day"},
        )
    assert answer.status_code == 200, answer.text
    energy = answer.json()
    days = [local_day(start_ms) for start_ms in energy["start_ms"]]
    assert days == sorted(expected)
    assert [socket["name"] for socket in energy["sockets"]] == list(recorded_house.SOCKETS)
    for index, socket in enumerate(energy["sockets"]):
        for day, energy_wh in zip(days, socket["energy_wh"], strict=True):
            assert energy_wh == pytest.approx(expected[day][index], abs=0.1), (socket["name"], day)


def local_day(start_ms: int) -> date:
    return datetime.fromtimestamp(start_ms / 1000, ZoneInfo(recorded_house.TIME_ZONE)).date()


def test_a_day_with_two_minutes_missing_says_so(platform: RunningPlatform, household: HouseholdId) -> None:
    minutes = dict.fromkeys(recorded_house.energy_by_day(), 0)
    for at, _ in recorded_house.minutes():
        minutes[at.date()] += 1
    whole_days = [day for day in minutes if day not in (min(minutes), max(minutes))]
    with platform.signed_in(ALICE) as alice:
        energy = alice.get(
            f"/api/v1/households/{household}/readings/energy",
            params={"start": str(whole_days[0]), "end": str(whole_days[-1] + timedelta(days=1)), "by": "day"},
        ).json()
    measured = [round(share * 1440) for share in energy["sockets"][0]["measured"]]
    assert measured == [minutes[day] for day in whole_days]
    assert set(measured) == {1438, 1440}


def test_replaying_it_again_changes_nothing(platform: RunningPlatform, household: HouseholdId, tmp_path: Path) -> None:
    before = platform.stored(household)
    done = platform.metric("writer-s1", "wattfleet_writer_stored_total")
    replay(platform, household, tmp_path)
    wait_until(
        lambda: platform.metric("writer-s1", "wattfleet_writer_stored_total") >= done + MINUTES,
        STORED_WITHIN_S,
        "all of it is stored again",
    )
    assert platform.stored(household) == before
