"""Live power: asked for once, renewed in time, honest about where it comes from, and over when nobody looks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import pytest
from gateway_running import QUICK, Serving
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from wattfleet_gateway import live as live_module
from wattfleet_gateway.api import live as live_api
from wattfleet_gateway.live import STREAMS_PER_PERSON, LiveHome, LiveHomes
from wattfleet_tenants import grants
from wattfleet_tenants.answers import SocketNow
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.reading import HomeReadings
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire import codec

SOON_S = 5.0

Events = AsyncIterator[dict[str, Any]]


def now_ms() -> int:
    return int(time.time() * 1000)


def message(*power_w: float | None, sequence: int = 0, at_ms: int | None = None) -> bytes:
    return codec.encode(HomeReadings(sequence, now_ms() if at_ms is None else at_ms, power_w))


@asynccontextmanager
async def watching(browser: httpx2.AsyncClient, home: HouseholdId) -> AsyncIterator[Events]:
    """The events of the home's stream, as a browser gets them."""
    async with browser.stream("GET", f"/api/v1/households/{home}/live") as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        async with aclosing(_events(answer)) as events:
            yield events


async def _events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(answer.aiter_lines()) as lines:
        async for line in lines:
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


async def following(events: Events) -> dict[str, Any]:
    async with asyncio.timeout(SOON_S):
        return await anext(events)


async def the_next(source: str, events: Events) -> dict[str, Any]:
    event = await following(events)
    while event["source"] != source:
        event = await following(events)
    return event


async def asked(gateway: Serving, times: int = 1) -> None:
    await eventually(lambda: len(gateway.edge.commands) >= times, SOON_S, f"the home is asked {times} times")


async def nobody_listens(gateway: Serving) -> None:
    await eventually(lambda: not gateway.edge.hearing, SOON_S, "the lease is let go")


async def test_a_watched_home_is_asked_by_a_signed_command_and_shown(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    async with watching(await gateway.signed_in(), home) as events:
        await asked(gateway)
        ((household, command),) = gateway.edge.commands
        assert household == home
        assert grants.verify(gateway.keys.public_pem, "agent", home, command).household == home
        at_ms = now_ms()
        gateway.edge.hearing[0](message(100.5, None, -20.0, at_ms=at_ms))
        assert await the_next("live", events) == {
            "at_ms": at_ms,
            "source": "live",
            "power_w": 80.5,
            "sockets": [
                {"number": 1, "power_w": 100.5},
                {"number": 2, "power_w": None},
                {"number": 3, "power_w": -20.0},
            ],
        }
    await nobody_listens(gateway)


async def test_a_silent_home_shows_its_last_stored_minute_and_says_so(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    at_ms = now_ms() - 90_000
    gateway.history.last[home] = [SocketNow(number=1, power_w=42.0, at_ms=at_ms)]
    async with watching(await gateway.signed_in(), home) as events:
        for _ in range(2):
            minute = await following(events)
            assert (minute["source"], minute["power_w"], minute["at_ms"]) == ("minute", 42.0, at_ms)
        await asked(gateway)
        gateway.edge.hearing[0](message(43.0))
        assert (await the_next("live", events))["power_w"] == 43.0
        assert (await following(events))["source"] == "minute"  # it fell silent again


async def test_a_home_that_never_sent_shows_nothing_rather_than_zero(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    async with watching(await gateway.signed_in(), home) as events:
        assert await following(events) == {"at_ms": None, "source": "minute", "power_w": None, "sockets": []}


async def test_a_lease_is_renewed_and_never_overlaps_for_long(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    async with watching(await gateway.signed_in(), home):
        await asked(gateway, 3)
        tokens = [command for _, command in gateway.edge.commands]
        assert len(set(tokens)) == len(tokens)
        await eventually(lambda: len(gateway.edge.hearing) == 1, SOON_S, "one lease is held")
    await nobody_listens(gateway)


async def test_a_broker_that_is_away_is_tried_again_while_minutes_are_shown(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.edge.unreachable = True
    async with watching(await gateway.signed_in(), home) as events:
        assert (await following(events))["source"] == "minute"
        gateway.edge.unreachable = False
        await asked(gateway)


async def test_a_reader_that_is_away_does_not_end_the_stream(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    gateway.history.error = Unavailable("down")
    async with watching(await gateway.signed_in(), home) as events:
        await asked(gateway)
        gateway.history.error = None
        assert (await following(events))["source"] == "minute"


async def test_all_who_watch_a_home_share_one_lease(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    first, second = await gateway.signed_in(), await gateway.signed_in()
    async with watching(first, home) as one, watching(second, home) as other:
        await following(one), await following(other)
        await asked(gateway)
        assert len({id(hear.__self__) for hear in gateway.edge.hearing}) == 1  # type: ignore[attr-defined]
        assert len(gateway.parts.live._homes) == 1
    await eventually(lambda: not gateway.parts.live._homes, SOON_S, "the home is let go")


DROPPED = {
    "oversized": lambda: b"\0" * 2000,
    "malformed": lambda: b"\xff\xff\xff",
    "unknown-version": lambda: b"",
    "not-live": lambda: message(1.0, sequence=7),
    "implausible-power": lambda: message(1.0, 25_000.1),
    "wrong-time": lambda: message(1.0, at_ms=now_ms() - 600_000),
}


@pytest.mark.parametrize("reason", DROPPED)
async def test_what_cannot_be_a_live_reading_is_dropped_and_counted(gateway: Serving, reason: str) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("wattfleet_gateway_live_dropped_total", {"reason": reason}) or 0

    home = LiveHome(mint_household_id(), gateway.parts.live)
    readings, before = home.join(), counted()
    home.hear(DROPPED[reason]())
    assert readings.empty()
    assert counted() == before + 1


@given(st.binary(max_size=1100))
def test_no_answer_of_a_home_breaks_the_stream(payload: bytes) -> None:
    home = LiveHome(mint_household_id(), LiveHomes(None, None, None, str, QUICK))  # type: ignore[arg-type]
    home.join()
    home.hear(payload)


async def test_a_slow_browser_misses_the_oldest_readings_only(gateway: Serving) -> None:
    home = LiveHome(mint_household_id(), gateway.parts.live)
    slow = home.join()
    for power_w in range(100):
        home.hear(message(float(power_w)))
    assert [slow.get_nowait().power_w for _ in range(slow.qsize())] == [96, 97, 98, 99]


async def test_whoever_joins_sees_the_latest_reading_at_once(gateway: Serving) -> None:
    home = LiveHome(mint_household_id(), gateway.parts.live)
    home.hear(message(5.0))
    assert home.join().get_nowait().power_w == 5.0


async def test_one_person_cannot_open_streams_without_end(gateway: Serving) -> None:
    home = gateway.home_of("alice")
    live = gateway.parts.live
    user = gateway.parts.store.ensure_user(gateway.settings.oidc.issuer, "alice")
    alice = await gateway.signed_in()
    live._streams[user] = STREAMS_PER_PERSON - 1
    async with watching(alice, home) as events:
        await following(events)
        refused = await alice.get(f"/api/v1/households/{home}/live")
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
    await eventually(lambda: live._streams[user] == STREAMS_PER_PERSON - 1, SOON_S, "the stream is counted off")


@pytest.mark.parametrize("how", ["signed out", "home taken away"])
async def test_a_stream_ends_when_it_is_no_longer_the_viewers(
    gateway: Serving, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_api, "_CHECK_EVERY_S", 0.3)
    home = gateway.home_of("alice")
    alice = await gateway.signed_in()
    async with watching(alice, home) as events:
        await following(events)
        if how == "signed out":
            gateway.parts.sessions.end(alice.cookies["wattfleet_session"])
        else:
            monkeypatch.setattr(gateway.parts.store, "household_of", lambda *_: None)
        async with asyncio.timeout(SOON_S):
            async for _ in events:
                pass
    await nobody_listens(gateway)


async def test_a_home_that_fails_inside_is_logged(
    gateway: Serving, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_household: HouseholdId) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(gateway.fleet, "placement", broken)
    async with gateway.parts.live.watch(mint_household_id(), 1):
        await eventually(lambda: "live view failed" in caplog.text, SOON_S, "the failure is logged")
    assert live_module.logger.name in {record.name for record in caplog.records}
