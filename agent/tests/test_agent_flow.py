import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_agent import answers
from wattfleet_agent.backoff import Backoff
from wattfleet_agent.publisher import send_phase_ms
from wattfleet_agent.window import MOST_IN_FLIGHT, Window
from wattfleet_tenants.household import mint_household_id


@pytest.mark.parametrize(
    ("headers", "body", "verdict"),
    [
        (None, {"stream": "M-s1", "seq": 7}, answers.STORED),
        (None, {"stream": "M-s1", "seq": 7, "duplicate": True}, answers.STORED),
        ({"Status": "503"}, "", "no-responders"),
        (None, {"error": {"code": 503, "description": "maximum messages per subject exceeded"}}, answers.FULL),
        (None, {"error": {"code": 503, "description": "maximum bytes exceeded"}}, answers.FULL),
        (None, {"error": {"code": 500, "description": "insufficient resources"}}, "refused"),
        (None, {"error": "no"}, "refused"),
        (None, {"stream": "M-s1", "seq": 0}, "unreadable"),
        (None, {"stream": "M-s1"}, "unreadable"),
        (None, {"seq": 3}, "unreadable"),
        (None, [1], "unreadable"),
        (None, "", "unreadable"),
        (None, "+ACK", "unreadable"),
    ],
)
def test_only_a_real_acknowledgement_counts_as_stored(headers: dict[str, str], body: object, verdict: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    assert answers.verdict(headers, text.encode()) == verdict


@given(st.binary(max_size=60))
def test_no_answer_breaks_the_agent(body: bytes) -> None:
    assert answers.verdict(None, body) in (answers.STORED, answers.FULL, "refused", "unreadable")


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


def test_homes_are_spread_over_the_minute_each_always_at_its_place() -> None:
    homes = [mint_household_id() for _ in range(2000)]
    phases = [send_phase_ms(home) for home in homes]
    assert phases == [send_phase_ms(home) for home in homes]
    in_each_tenth = [sum(1 for phase in phases if phase // 5000 == tenth) for tenth in range(10)]
    assert sum(in_each_tenth) == 2000
    assert min(in_each_tenth) > 120
