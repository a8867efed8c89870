"""What becomes of each message that an ingest takes, with a broker that refuses, falls silent and comes back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from wattfleet_tenants.adapters.bulk_connection import Received
from wattfleet_tenants.adapters.bundles_out import StreamFull
from wattfleet_tenants.household import HouseholdId
from wattfleet_tenants.ingest import answering, carrier, homes, ingest, packing
from wattfleet_tenants.ingest.answering import RefusalLimit, answers
from wattfleet_tenants.ingest.homes import LIVE_EVERY_S, Home, Homes, Unsettled, charge, charged_for, give_back
from wattfleet_tenants.ingest.ingest import Ingest
from wattfleet_tenants.ingest.packing import Parcel, Waiting
from wattfleet_tenants.ports import Unavailable
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.shard import ShardId
from wattfleet_tenants.subjects import Lane
from wattfleet_tenants.telemetry.health import Health
from wattfleet_tenants.testing.builders import message
from wattfleet_tenants.testing.waiting import eventually
from wattfleet_tenants.wire.bundle import Bundle, decode

SHARD = ShardId("s1")


@dataclass
class FakeEdge:
    """Homes' account: `arrive` is what a read brings; what homes are told is in `told`."""

    is_connected: bool = True
    trouble: str = ""
    slow: list[bool] = field(default_factory=list)
    told: list[tuple[bytes, bytes]] = field(default_factory=list)
    taking: bool = False

    async def take_from(self, subject: str, queue: str, take: Callable[[Received], None]) -> None:
        assert (subject, queue) == ("m.s1.*", "ingest")
        if self.trouble:
            raise Unavailable(self.trouble)
        self._take, self.taking = take, True

    async def stop_taking(self) -> None:
        self.taking = False

    def arrive(self, *messages: tuple[bytes, bytes, bytes]) -> None:
        received = Received()
        for name, reply, payload in messages:
            received.subjects.append(b"m.s1." + name)
            received.replies.append(reply)
            received.payloads.append(payload)
        self._take(received)

    def send_now(self, commands: bytes) -> bool:
        if self.slow and self.slow.pop():
            return False
        self._note(commands)
        return True

    async def send(self, commands: bytes) -> None:
        await asyncio.sleep(0)
        self._note(commands)

    def _note(self, commands: bytes) -> None:
        lines = commands.split(b"\r\n")
        assert lines.pop() == b""
        for command, receipt in zip(lines[::2], lines[1::2], strict=True):
            verb, reply, size = command.split(b" ")
            assert (verb, int(size)) == (b"PUB", len(receipt))
            self.told.append((reply, receipt))


class FakeQuotas:
    """What was heard of the households' quotas: another mapping after a change."""

    def __init__(self) -> None:
        self.quotas: dict[HouseholdId, FakeQuota] = {}

    def hear(self, name: bytes, backlog_messages: int | None) -> None:
        household = HouseholdId(name.decode())
        self.quotas = {one: quota for one, quota in self.quotas.items() if one != household}
        if backlog_messages is not None:
            self.quotas[household] = FakeQuota(backlog_messages)


@dataclass
class FakeQuota:
    backlog_messages: int


class FakeStreams:
    """Streams that know a bundle again. outcomes: "ok", "full", "away", and "unheard", which is taken and not told."""

    def __init__(self, outcomes: Sequence[str] = ()) -> None:
        self.outcomes = list(outcomes)
        self.there = True
        self.ids: dict[Lane, list[tuple[str, int]]] = {lane: [] for lane in Lane}
        self.bundles: dict[Lane, list[Bundle]] = {lane: [] for lane in Lane}
        self.settled = dict.fromkeys(Lane, 0)
        self.in_flight: Counter[Lane] = Counter()

    async def publish(self, lane: Lane, run: str, number: int, payload: bytes) -> int:
        self.in_flight[lane] += 1
        assert self.in_flight[lane] == 1
        await asyncio.sleep(0)
        self.in_flight[lane] -= 1
        outcome = self.outcomes.pop() if self.outcomes else "ok"
        known = (run, number) in self.ids[lane]
        if outcome == "away":
            raise Unavailable("away")
        if outcome == "full":
            raise StreamFull("full, and it has forgotten what it knew")
        if not known:
            self.ids[lane].append((run, number))
            self.bundles[lane].append(decode(payload))
        if outcome == "unheard":
            raise Unavailable("unheard")
        return self.ids[lane].index((run, number)) + 1

    async def first_position(self, lane: Lane) -> int:
        if not self.there:
            raise Unavailable("no stream")
        return self.settled[lane] + 1

    def messages(self) -> Counter[bytes]:
        return Counter(message for lane in Lane for bundle in self.bundles[lane] for _, message in bundle.each())


def refused() -> Counter[str]:
    reasons = ("full", "busy", "dropped")
    return Counter(
        {r: int(REGISTRY.get_sample_value("wattfleet_ingest_refused_total", {"reason": r}) or 0) for r in reasons}
    )


def own_reply(name: bytes, token: int) -> bytes:
    return b"_INBOX.%b.r.%d" % (name, token)


class Story:
    """An ingest between the two fakes, with a clock that is moved by hand and with small limits."""

    SMALL = (
        (homes, {"MOST_UNSETTLED": 5}),
        (packing, {"MOST_WAITING": 7, "MOST_WAITING_BYTES": 5_000, "MOST_MESSAGES_PER_BUNDLE": 3}),
        (answering, {"MOST_REFUSALS_PER_S": 2}),
        (carrier, {"LINGER_S": 0.0, "_FIRST_PAUSE_S": 0.0, "_LONGEST_PAUSE_S": 0.0}),
        (ingest, {"_LOOK_EVERY_S": 0.0, "_FORGET_EVERY_S": 10.0}),
    )

    def __init__(self, edge: FakeEdge, streams: FakeStreams) -> None:
        self.edge, self.streams, self.quotas = edge, streams, FakeQuotas()
        self.now_s = 1000.0
        self.health = Health("edge", "stream")
        self.ingest = Ingest(SHARD, edge, streams, self.quotas, self.health, lambda: self.now_s)
        self.stopping = asyncio.Event()

    async def __aenter__(self) -> "Story":
        self._patches = [patch.multiple(module, **limits) for module, limits in self.SMALL]
        for one in self._patches:
            one.start()
        self.running = asyncio.create_task(self.ingest.run(self.stopping))
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            self.stopping.set()
            await asyncio.wait_for(self.running, 20)
        finally:
            for one in self._patches:
                one.stop()

    async def ready(self) -> None:
        await eventually(lambda: self.edge.taking, 5, "the ingest takes messages")

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def done(self, messages: int) -> None:
        await eventually(lambda: len(self.edge.told) == messages, 5, f"{messages} answers")

    def homes(self) -> Sequence[Home]:
        return list(self.ingest._homes._by_name.values())

    async def quota(self, name: bytes, backlog_messages: int | None) -> None:
        self.quotas.hear(name, backlog_messages)
        await eventually(lambda: self.ingest._granted is self.quotas.quotas, 5, "the quota is in force")


names = st.sampled_from([b"h1", b"h2", b"h3"])
sends = st.lists(st.tuples(names, st.booleans(), st.sampled_from([0, 0, 0, 0, 3_000])), min_size=1, max_size=12)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), sends),
        st.tuples(st.just("settle"), st.integers(1, 3)),
        st.tuples(st.just("later"), st.sampled_from([0.5, 30.0, 60.0])),
        st.tuples(st.just("turns"), st.integers(1, 30)),
        st.tuples(st.just("quota"), st.tuples(names, st.sampled_from([None, 1, 3, 4]))),
    ),
    max_size=12,
)
outcomes = st.lists(st.sampled_from(["ok", "ok", "full", "away", "unheard"]), max_size=20)


@settings(max_examples=60)
@given(steps, outcomes, st.lists(st.booleans(), max_size=5))
def test_each_message_is_answered_once_and_truly_or_counted_as_dropped(
    story: list[tuple[str, object]], outcomes: list[str], slow: list[bool]
) -> None:
    asyncio.run(_live_through(story, outcomes, slow))


async def _live_through(story: list[tuple[str, object]], outcomes: list[str], slow: list[bool]) -> None:
    before, sent = refused(), {}
    edge, streams = FakeEdge(slow=slow), FakeStreams(outcomes)
    async with Story(edge, streams) as told:
        await told.ready()
        for kind, what in story:
            had = {home.name: home.unsettled for home in told.homes()}
            if kind == "send":
                arriving = []
                for name, well_asked, more in what:
                    token = len(sent)
                    payload = b"%d " % token + b"x" * more
                    sent[payload] = own_reply(name, token) if well_asked else b"_INBOX.other.%d" % token
                    arriving.append((name, sent[payload], payload))
                edge.arrive(*arriving)
            elif kind == "settle":
                for lane in Lane:
                    streams.settled[lane] = min(len(streams.ids[lane]), streams.settled[lane] + what)
            elif kind == "later":
                told.now_s += what
            elif kind == "quota":
                await told.quota(*what)
            else:
                await told.turns(what)
            check_shares(told, had)
    check_numbers(streams)
    in_streams, answered = streams.messages(), Counter(reply for reply, _ in edge.told)
    assert set(in_streams.values()) <= {1}
    assert set(answered.values()) <= {1}
    receipts = dict(edge.told)
    for payload, reply in sent.items():
        if b"other" in reply:
            assert reply not in receipts
        elif payload in in_streams:
            assert receipts[reply] == b"ok"
        else:
            assert receipts.get(reply) in (b"full", b"busy", None)
    assert len(in_streams) + sum((refused() - before).values()) == len(sent)
    unanswered = sum(1 for payload, reply in sent.items() if reply not in receipts and payload not in in_streams)
    assert (refused() - before)["dropped"] <= unanswered


def check_shares(story: Story, had: dict[bytes, int]) -> None:
    """A home's share is never exceeded, nor given back twice; what it had before a smaller one it keeps."""
    for home in story.homes():
        quota = story.quotas.quotas.get(HouseholdId(home.name.decode()))
        share = quota.backlog_messages if quota else 5
        assert 0 <= home.unsettled <= max(share, had.get(home.name, 0))


def check_numbers(streams: FakeStreams) -> None:
    for lane in Lane:
        bundles = streams.bundles[lane]
        assert [bundle.number for bundle in bundles] == list(range(1, len(bundles) + 1))
        before = 0
        for bundle in bundles:
            assert bundle.messages_before == before
            before += len(bundle)


async def test_one_message_a_minute_is_live_and_what_comes_beside_it_is_not() -> None:
    edge, streams = FakeEdge(), FakeStreams()
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive(*[(b"h1", own_reply(b"h1", i), b"%d" % i) for i in range(3)], (b"h2", own_reply(b"h2", 3), b"3"))
        await story.done(4)
        story.now_s += LIVE_EVERY_S - 1
        edge.arrive((b"h1", own_reply(b"h1", 4), b"4"))
        story.now_s += 1
        edge.arrive((b"h1", own_reply(b"h1", 5), b"5"))
        await story.done(6)
    live, backlog = ([m for b in streams.bundles[lane] for _, m in b.each()] for lane in Lane)
    assert (live, backlog) == ([b"0", b"3", b"5"], [b"1", b"2", b"4"])


async def test_a_home_that_catches_up_has_its_fresh_minutes_taken_live_and_its_old_ones_never() -> None:
    edge, streams = FakeEdge(), FakeStreams()
    now_ms = int(time.time()) // 60 * INTERVAL_MS
    old, fresh = message(1, now_ms - 60 * INTERVAL_MS), message(2, now_ms - INTERVAL_MS)
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive((b"h1", own_reply(b"h1", 1), old), (b"h1", own_reply(b"h1", 2), fresh))
        await story.done(2)
        story.now_s += LIVE_EVERY_S
        edge.arrive((b"h1", own_reply(b"h1", 3), old))
        await story.done(3)
    live, backlog = ([m for b in streams.bundles[lane] for _, m in b.each()] for lane in Lane)
    assert (live, backlog) == ([fresh], [old, old])


async def test_a_full_share_ends_in_full_and_opens_again_when_bundles_are_settled() -> None:
    edge, streams = FakeEdge(), FakeStreams()
    async with Story(edge, streams) as story:
        await story.ready()
        for i in range(10):
            edge.arrive((b"h1", own_reply(b"h1", i), b"x"))
            story.now_s += 1
            await story.done(i + 1)
        assert [receipt for _, receipt in edge.told] == [b"ok"] * 6 + [b"full"] * 4
        edge.arrive((b"h2", own_reply(b"h2", 0), b"x"), (b"h2", own_reply(b"h2", 1), b"x"))
        await story.done(12)
        assert [receipt for _, receipt in edge.told[10:]] == [b"ok"] * 2, "another home has a share of its own"
        streams.settled[Lane.BACKLOG] = 2
        await eventually(lambda: _unsettled(story, b"h1") == 3, 5, "two are settled")
        edge.arrive(*[(b"h1", own_reply(b"h1", i), b"x") for i in range(20, 23)])
        await story.done(15)
        assert Counter(receipt for _, receipt in edge.told[12:]) == {b"ok": 2, b"full": 1}


async def test_a_quota_of_its_own_is_a_home_s_share_and_nobody_else_s_from_the_first_message_on() -> None:
    edge, streams = FakeEdge(), FakeStreams()
    async with Story(edge, streams) as story:
        await story.quota(b"h1", 2)
        await story.ready()
        for name in (b"h1", b"h2"):
            edge.arrive(*[(name, own_reply(name, i), b"x") for i in range(5)])
        await story.done(10)
        assert Counter(r.split(b".")[1] for r, receipt in edge.told if receipt == b"ok") == {b"h1": 3, b"h2": 5}


async def test_a_changed_quota_holds_for_a_home_that_is_known_already() -> None:
    edge, streams = FakeEdge(), FakeStreams()
    async with Story(edge, streams) as story:
        await story.ready()
        sent = 0

        async def taken(count: int) -> int:
            nonlocal sent
            story.now_s += 1.0  # far from the next live one, and refusals are told anew
            edge.arrive(*[(b"h1", own_reply(b"h1", sent + i), b"x") for i in range(count)])
            sent += count
            await story.done(sent)
            return sum(1 for _, receipt in edge.told[sent - count :] if receipt == b"ok")

        assert await taken(5) == 5, "a live one and four of five"
        await story.quota(b"h1", 2)
        assert await taken(1) == 0, "it holds more than it may by now, and keeps that"
        streams.settled[Lane.BACKLOG] = len(streams.ids[Lane.BACKLOG])
        await eventually(lambda: _unsettled(story, b"h1") == 0, 5, "all is settled")
        assert await taken(3) == 2
        await story.quota(b"h1", 4)
        assert await taken(3) == 2
        await story.quota(b"h1", None)
        assert await taken(2) == 1, "the default again"


def _unsettled(story: Story, name: bytes) -> int:
    home = story.ingest._homes.get(name)
    return home.unsettled if home else 0


async def test_a_flood_is_told_so_many_times_a_second_and_no_more() -> None:
    edge, streams = FakeEdge(), FakeStreams(["away"] * 50)
    before = refused()
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive(*[(b"h1", own_reply(b"h1", i), b"x") for i in range(20)])
        assert [receipt for _, receipt in edge.told] == [b"full"] * 2
        story.now_s += 1
        edge.arrive(*[(b"h1", own_reply(b"h1", i), b"x") for i in range(30, 40)])
        assert [receipt for _, receipt in edge.told] == [b"full"] * 4
    assert refused() - before == {"full": 4, "dropped": 20}


async def test_what_has_no_room_to_wait_is_answered_busy_and_is_live_when_it_comes_again() -> None:
    edge, streams = FakeEdge(), FakeStreams(["away"] * 50)
    async with Story(edge, streams) as story:
        await story.ready()
        many = [(b"g%d" % i, own_reply(b"g%d" % i, i), b"%d" % i) for i in range(12)]
        edge.arrive(*many)
        assert Counter(receipt for _, receipt in edge.told) == {b"busy": 5}
        await eventually(lambda: len(edge.told) == 12, 5, "those that waited are confirmed in the end")
        edge.arrive(*many[7:])
        await story.done(17)
    assert Counter(receipt for _, receipt in edge.told) == {b"busy": 5, b"ok": 12}
    assert not streams.bundles[Lane.BACKLOG]


async def test_a_backlog_that_is_stuck_does_not_hold_up_what_is_live() -> None:
    edge, streams = FakeEdge(), FakeStreams()
    publish = streams.publish
    stuck = asyncio.Event()

    async def publish_unless_backlog(lane: Lane, run: str, number: int, payload: bytes) -> int:
        if lane == Lane.BACKLOG:
            await stuck.wait()
        return await publish(lane, run, number, payload)

    streams.publish = publish_unless_backlog  # type: ignore[method-assign]
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive(*[(b"h1", own_reply(b"h1", i), b"x") for i in range(5)])
        edge.arrive((b"h2", own_reply(b"h2", 0), b"x"))
        await story.done(2)
        assert {reply for reply, _ in edge.told} == {own_reply(b"h1", 0), own_reply(b"h2", 0)}
        stuck.set()


async def test_it_takes_nothing_before_there_are_streams_and_says_what_it_lacks() -> None:
    edge, streams = FakeEdge(trouble="not allowed"), FakeStreams()
    streams.there = False
    async with Story(edge, streams) as story:
        await eventually(lambda: story.health.troubles.get("stream") == "no stream", 5, "the trouble is said")
        assert not edge.taking
        streams.there = True
        await eventually(lambda: story.health.troubles == {"edge": "not allowed"}, 5, "the streams are seen")
        edge.trouble = ""
        await story.ready()
        await eventually(lambda: not story.health.troubles, 5, "ready")
        edge.is_connected = False
        await eventually(lambda: story.health.troubles == {"edge": "NATS is away"}, 5, "the loss is said")


async def test_what_was_taken_is_confirmed_before_it_stops() -> None:
    edge, streams = FakeEdge(), FakeStreams(["away", "full"])
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive(*[(b"h%d" % i, own_reply(b"h%d" % i, i), b"x") for i in range(5)])
    assert not edge.taking
    assert Counter(receipt for _, receipt in edge.told) == {b"ok": 2, b"full": 3}


async def test_a_bundle_in_doubt_is_published_until_it_is_there_and_never_called_refused() -> None:
    edge, streams = FakeEdge(), FakeStreams(["ok", "full", "unheard"])
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive((b"h1", own_reply(b"h1", 0), b"x"))
        await story.done(1)
    assert edge.told == [(own_reply(b"h1", 0), b"ok")]
    check_numbers(streams)


async def test_it_stops_in_time_though_the_streams_stay_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_FINISH_WITHIN_S", 0.1)
    edge, streams = FakeEdge(), FakeStreams(["away"] * 1_000_000)
    async with Story(edge, streams) as story:
        await story.ready()
        edge.arrive((b"h1", own_reply(b"h1", 0), b"x"))
    assert edge.told == []


async def test_a_bug_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = FakeEdge()
    story = Story(edge, FakeStreams())
    running = asyncio.create_task(story.ingest.run(story.stopping))
    await story.ready()
    monkeypatch.setattr(homes, "LIVE_EVERY_S", None)
    monkeypatch.setattr(ingest, "LIVE_EVERY_S", None)
    edge.arrive((b"h1", b"", b"x"))
    with pytest.raises(RuntimeError, match="sorted"):
        await asyncio.wait_for(running, 5)


@given(st.lists(st.sampled_from([0, 10, 138, 16_384]), max_size=60), st.integers(1, 9))
def test_bundles_keep_order_and_limits(sizes: list[int], most: int) -> None:
    with patch.multiple(packing, MOST_MESSAGES_PER_BUNDLE=most, MOST_BYTES_PER_BUNDLE=40_000):
        waiting = Waiting()
        messages = [bytes([i]) + b"x" * size for i, size in enumerate(sizes)]
        for message in messages:
            assert not len(waiting.add(Parcel([Home(b"h", 5)], [message], [b""])))
        seen: list[bytes] = []
        while len(waiting):
            bundle = waiting.take_bundle()
            assert 1 <= len(bundle) <= most
            assert sum(map(len, bundle.messages)) <= 40_000
            seen += bundle.messages
        assert seen == messages


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12))
def test_never_more_waits_than_allowed_and_what_is_turned_away_is_the_newest(arrivals: list[list[int]]) -> None:
    with patch.multiple(packing, MOST_WAITING=10, MOST_WAITING_BYTES=100):
        waiting = Waiting()
        for sizes in arrivals:
            parcel = Parcel([Home(b"h", 5)] * len(sizes), [b"x" * size for size in sizes], [b""] * len(sizes))
            had, rest = len(waiting), waiting.add(parcel)
            assert len(waiting) <= 10
            assert waiting._bytes == sum(map(len, waiting._parcel.messages)) <= 100
            taken = len(waiting) - had
            assert [len(message) for message in rest.messages] == sizes[taken:]


@given(
    st.dictionaries(names, st.integers(1, 12)),
    st.lists(st.one_of(st.tuples(names, st.integers(0, 5_000)), st.integers(1, 4)), max_size=40),
)
def test_shares_are_what_is_in_the_stream_and_come_back_when_it_is_settled(
    shares: dict[bytes, int], story: list[object]
) -> None:
    known, unsettled = Homes(), Unsettled()
    known.grant(shares)
    stream: list[tuple[bytes, int]] = []
    first = 1
    for step in story:
        if isinstance(step, int):
            first = min(first + step, len(stream) + 1)
            unsettled.settled_below(first)
        else:
            name, size = step
            home, message = known.get(name) or known.meet(name), b"x" * size
            if not charge([home], [message]):
                stream.append((name, max(1, (size + 1023) // 1024)))
                unsettled.add(len(stream), charged_for([home], [message]))
        for name in (b"h1", b"h2", b"h3"):
            held = sum(units for owner, units in stream[first - 1 :] if owner == name)
            home_now = known.get(name)
            assert (home_now.unsettled if home_now else 0) == held <= shares.get(name, homes.MOST_UNSETTLED)


def test_a_stream_that_was_made_anew_holds_nothing_of_anybody() -> None:
    home, unsettled = Home(b"h1", 5), Unsettled()
    assert charge([home], [b"x"]) == []
    unsettled.settled_below(500)
    unsettled.add(510, [home])
    unsettled.settled_below(0)
    assert home.unsettled == 0


def test_idle_homes_are_forgotten_and_charged_ones_are_not() -> None:
    known = Homes()
    idle, charged, recent = (known.meet(name) for name in (b"idle", b"charged", b"recent"))
    charge([charged], [b""])
    recent.live_again_s = 11.0
    known.forget_idle(10.0)
    assert (known.get(b"idle"), known.get(b"charged"), known.get(b"recent")) == (None, charged, recent)
    give_back([charged])
    known.forget_idle(11.0)
    assert len(known) == 0
    assert idle.name == b"idle"


def test_a_home_that_was_forgotten_comes_back_to_its_own_share() -> None:
    known = Homes()
    known.grant({b"h1": 7})
    assert known.meet(b"h1").most_unsettled == 7
    known.forget_idle(0.0)
    assert known.get(b"h1") is None
    assert (known.meet(b"h1").most_unsettled, known.meet(b"h2").most_unsettled) == (7, homes.MOST_UNSETTLED)


@given(st.lists(st.sampled_from([b"", b"_INBOX.h.a", b"_INBOX.h..a", b"_INBOX.h.a.", b"_INBOX.h.", b"_INBOX.h.*"])))
def test_answers_go_to_what_the_broker_takes(replies: list[bytes]) -> None:
    expected = b"".join(b"PUB %b 4\r\nbusy\r\n" % r for r in replies if r in (b"_INBOX.h.a", b"_INBOX.h.*"))
    assert answers(replies, b"busy") == expected


def test_refusals_are_told_by_home_and_second() -> None:
    limit, loud, quiet = RefusalLimit(), Home(b"loud", 5), Home(b"quiet", 5)
    most = answering.MOST_REFUSALS_PER_S
    told = limit.told_of([loud] * (most + 10) + [quiet, quiet], [b"a"] * (most + 10) + [b"b", b""], 7.0)
    assert Counter(told) == {b"a": most, b"b": 1}
    assert limit.told_of([loud], [b"a"], 7.9) == []
    assert limit.told_of([loud], [b"a"], 8.0) == [b"a"]
