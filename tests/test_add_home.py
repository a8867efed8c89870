"""A person adds a home on the whole platform: it is set up by itself, and its agent's readings reach that person."""

from running_platform import ALICE, BOB, Homes, RunningPlatform
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.testing.waiting import wait_until

READY_WITHIN_S = 60
HEARD_WITHIN_S = 90


def test_a_home_that_a_person_adds_is_set_up_and_measured(platform: RunningPlatform, homes: Homes) -> None:
    with platform.signed_in(BOB) as bob, platform.signed_in(ALICE) as alice:
        answer = bob.post("/api/v1/households", json={"name": "Bob's barn", "time_zone": "Europe/London"})
        assert answer.status_code == 201, answer.text
        household = HouseholdId(answer.json()["id"])
        path = answer.headers["location"]
        wait_until(lambda: bob.get(path).json()["ready"], READY_WITHIN_S, "the home is ready")
        assert alice.get(path).status_code == 404
        platform.start_agent("barn", household, "simulated:flat", history_days=1)
        heard = wait_until(lambda: bob.get(f"{path}/readings/now").json()["sockets"], HEARD_WITHIN_S, "it is heard")
        assert {socket["name"] for socket in heard} >= {"Socket 1", "Socket 2"}
        names = [home["name"] for home in bob.get("/api/v1/households").json()]
        assert names == ["Bob's barn", "Bob's farm"]
