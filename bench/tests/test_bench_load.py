"""The load generator: its ramp, its clock, its sums, and real agents against real servers."""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from wattfleet_agent.outbox import Outbox
from wattfleet_agent.outbox_file import lock
from wattfleet_agent.sensors import Minute
from wattfleet_bench.load.__main__ import main
from wattfleet_bench.load.agent import next_beat_ms, outbox_path
from wattfleet_bench.load.clock import LoadClock, begin_or_continue
from wattfleet_bench.load.comparison import Comparison, compare
from wattfleet_bench.load.outboxes import all_kept
from wattfleet_bench.load.ramp import Ramp
from wattfleet_bench.load.report import Report, total
from wattfleet_bench.load.rung import assigned_phases_ms, real_agents, write_homes
from wattfleet_bench.load.street import House, Street
from wattfleet_bench.load.tally import Latencies, peak_to_mean, phases_peak_to_mean
from wattfleet_tenants import permissions, series, subjects
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.testing.builders import A_MINUTE_MS
from wattfleet_tenants.testing.data_plane import IngestProcess, WriterProcess
from wattfleet_tenants.testing.nats_server import ShardBroker
from wattfleet_tenants.testing.victoria_metrics import VictoriaMetrics
from wattfleet_tenants.testing.waiting import eventually, wait_until
from wattfleet_tenants.wire.receipts import ACKNOWLEDGED

A_TIME_S = 1_790_000_000.0

ramps = st.builds(
    lambda first, length, step: Ramp(first, first + length, step),
    st.integers(0, 20_000),
    st.integers(0, 50_000),
    st.integers(1, 60_000),
).filter(lambda ramp: ramp.sub_ranges <= 2_000)


# The ramp-up


@given(ramps, st.integers(1, 3_000), st.integers(0, 2**32))
def test_every_agent_gets_one_delay_within_the_range_and_the_fewest_start_first(
    ramp: Ramp, agents: int, seed: int
) -> None:
    delays = ramp.delays_ms(agents, seed)
    assert len(delays) == agents
    assert all(ramp.min_delay_ms <= delay <= ramp.max_delay_ms for delay in delays)
    in_each = Counter(map(ramp.sub_range_of, delays))
    counts = [in_each[sub_range] for sub_range in range(ramp.sub_ranges)]
    assert counts == ramp.counts(agents)
    assert counts == sorted(counts)
    assert delays == ramp.delays_ms(agents, seed)


@given(ramps)
def test_sub_ranges_follow_each_other_without_gap_or_overlap_and_end_at_the_longest_delay(ramp: Ramp) -> None:
    bounds = [ramp.bounds_ms(sub_range) for sub_range in range(ramp.sub_ranges)]
    assert bounds[0][0] == ramp.min_delay_ms
    assert bounds[-1][1] == ramp.max_delay_ms
    assert all(first <= last for first, last in bounds)
    assert all(last + 1 == first for (_, last), (first, _) in pairwise(bounds))
    assert all(ramp.sub_range_of(end) == i for i, both in enumerate(bounds) for end in both)


@given(ramps, st.integers(1, 3_000))
def test_sub_ranges_have_agents_in_proportion_to_their_rank(ramp: Ramp, agents: int) -> None:
    counts, shares = ramp.counts(agents), ramp.sub_ranges * (ramp.sub_ranges + 1) / 2
    assert sum(counts) == agents
    assert all(abs(count - agents * rank / shares) <= 1 for rank, count in enumerate(counts, 1))


@pytest.mark.parametrize(
    ("ramp", "agents", "counts"),
    [
        (Ramp(0, 1000, 250), 100, [10, 20, 30, 40]),
        (Ramp(0, 1000, 300), 10, [1, 2, 3, 4]),
        (Ramp(0, 1000, 5000), 7, [7]),
        (Ramp(500, 500, 100), 7, [7]),
        (Ramp(0, 1000, 100), 3, [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]),
    ],
)
def test_ramps_as_one_would_reckon_them(ramp: Ramp, agents: int, counts: list[int]) -> None:
    assert ramp.counts(agents) == counts


def test_other_seeds_deal_other_delays() -> None:
    assert Ramp(0, 10_000, 1_000).delays_ms(50, 1) != Ramp(0, 10_000, 1_000).delays_ms(50, 2)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ((-1, 5, 1), "--min-delay"),
        ((6, 5, 1), "--max-delay"),
        ((0, 5, 0), "--step"),
        ((0, 10**9, 1), "--step"),
    ],
)
def test_a_wrong_ramp_is_named(wrong: tuple[int, int, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Ramp(*wrong)


# The command line


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--agents", "0"], "--agents"),
        (["--agents", "many"], "--agents"),
        (["--agents", "²"], "--agents"),
        (["--agents", "3"], "has 0"),
        (["--min-delay", "-1"], "--min-delay"),
        (["--min-delay", "20", "--max-delay", "10"], "--max-delay"),
        (["--step", "0"], "--step"),
        (["--sockets", "0"], "--sockets"),
        (["--sockets", "65"], "--sockets"),
        (["--interval", "0"], "--interval"),
        (["--interval", "61"], "--interval"),
        (["--interval", "nan"], "--interval"),
        (["--duration", "-1"], "--duration"),
        (["--processes", "0"], "--processes"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    wrong: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agents = [] if "--agents" in wrong else ["--agents", "1"]
    try:
        code: int | str | None = main([*agents, "--homes", str(tmp_path), "--folder", str(tmp_path / "load"), *wrong])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert code == 2
    assert len(said.err.splitlines()) == 1
    assert named in said.err
    assert not said.out


def test_a_home_file_that_is_none_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "h1.json").write_text("{}")
    arguments = ["--agents", "1", "--homes", str(tmp_path), "--folder", str(tmp_path / "load"), "--max-delay", "0"]
    assert main([*arguments, "--step", "1"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "h1.json is wrong: " in said


def test_help_says_what_is_not_as_at_home(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    assert "once a minute instead of 60 times" in said
    assert "--max-delay" in said


# The clock and the beats


@given(st.floats(0.1, 60), st.floats(0, 10_000_000))
def test_a_load_clock_never_goes_back_and_is_never_ahead(interval_s: float, later_s: float) -> None:
    clock = LoadClock(interval_s, A_TIME_S, A_TIME_S - 3600)
    now_s, then_s = clock.at(A_TIME_S + later_s), clock.at(A_TIME_S + later_s + 1)
    assert now_s <= then_s
    assert then_s <= A_TIME_S + later_s + 1


def test_a_load_goes_on_by_the_clock_it_was_begun_with(tmp_path: Path) -> None:
    begun = begin_or_continue(tmp_path / "load", 1.0, lambda: A_TIME_S)
    assert begin_or_continue(tmp_path / "load", 1.0, lambda: A_TIME_S + 50) == begun
    assert begun.at(A_TIME_S + 2) - begun.at(A_TIME_S) == pytest.approx(120)
    with pytest.raises(ValueError, match="begun with --interval 1, not 60"):
        begin_or_continue(tmp_path / "load", 60.0)


def test_with_an_interval_of_a_minute_it_is_the_real_time(tmp_path: Path) -> None:
    clock = begin_or_continue(tmp_path, 60.0, lambda: A_TIME_S)
    assert clock.at(A_TIME_S + 0.123456) == A_TIME_S + 0.123456


@given(st.floats(A_TIME_S, A_TIME_S + 10_000), st.integers(0, INTERVAL_MS - 1))
def test_a_home_is_read_once_a_minute_just_after_it_may_send(now_s: float, phase_ms: int) -> None:
    beat_ms = next_beat_ms(now_s, phase_ms)
    assert now_s * 1000 - 1 < beat_ms <= now_s * 1000 + INTERVAL_MS
    assert 0 < (beat_ms - phase_ms) % INTERVAL_MS < 100
    assert next_beat_ms(beat_ms / 1000, phase_ms) == beat_ms + INTERVAL_MS


# The sensors


def test_houses_of_a_street_are_told_apart_by_every_minute() -> None:
    street = Street(30, lambda: A_TIME_S)
    houses = [House(street, number).read() for number in range(200)]
    assert len({sample.power_w for sample in houses}) == 200
    assert all(len(sample.power_w) == 30 for sample in houses)
    assert House(street, 7).read() == houses[7]


# The sums


@given(st.lists(st.floats(1e-4, 100), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_two_percent_off_at_most(durations_s: list[float], percent: int) -> None:
    latencies = Latencies()
    for duration_s in durations_s:
        latencies.add(duration_s)
    exact_s = sorted(durations_s)[ceil(len(durations_s) * percent / 100) - 1]
    found_s = latencies.percentile_s(percent)
    assert found_s is not None
    assert exact_s * 0.999 <= found_s <= exact_s * 1.021


def test_nothing_counted_has_no_percentile() -> None:
    assert Latencies().percentile_s(50) is None


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 50)), st.integers(1, 10))
def test_peak_to_mean_counts_silent_seconds_too(by_second: dict[int, int], seconds: int) -> None:
    assume(any(second < seconds for second in by_second))
    counts = [by_second.get(second, 0) for second in range(seconds)]
    assert peak_to_mean(by_second, 0, seconds) == pytest.approx(max(counts) / (sum(counts) / seconds))
    assert peak_to_mean(by_second, 20, 30) is None


def test_the_phases_that_the_platform_gives_to_ten_thousand_homes_are_even() -> None:
    ratio = phases_peak_to_mean(assigned_phases_ms(10_000))
    assert ratio is not None
    assert ratio <= 1.1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.dictionaries(st.integers(-5, 5), st.integers(1)))))
def test_reports_travel_as_lines_and_add_up(parts: list[tuple[int, int, dict[int, int]]]) -> None:
    reports = [
        Report(agents=agents, sent=sent, refused={"full": sent}, latency_buckets=table, sent_by_second=table)
        for agents, sent, table in parts
    ]
    assert [Report.from_line(report.as_line()) for report in reports] == reports
    added = total(reports)
    assert added.agents == sum(agents for agents, _, _ in parts)
    assert added.refusals == added.sent == sum(sent for _, sent, _ in parts)
    assert sum(added.sent_by_second.values()) == sum(sum(table.values()) for _, _, table in parts)


# Real agents


@asynccontextmanager
async def answering(broker: ShardBroker) -> AsyncIterator[Counter[str]]:
    """Acknowledges everything with the rights of an ingest; counts messages by subject."""
    heard: Counter[str] = Counter()
    creds = broker.edge_credentials("answering", permissions.ingest_edge(broker.shard))
    async with broker.connection(creds, subjects.INGEST_INBOX) as client:

        async def answer(message: Msg) -> None:
            heard[message.subject] += 1
            await client.publish(message.reply, ACKNOWLEDGED)

        await client.subscribe(subjects.all_measurements(broker.shard), queue=subjects.INGEST_QUEUE, cb=answer)
        await client.flush()
        yield heard


@asynccontextmanager
async def load(folder: Path, *options: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m wattfleet_bench.load` with the home files in `folder`, each minute a second; killed at the end."""
    with (folder / "load.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wattfleet_bench.load", "--interval", "1", "--max-delay", "500", "--step", "100"),
            *("--homes", str(folder / "homes"), "--folder", str(folder / "load"), *map(str, options)),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def sequences(folder: Path) -> list[list[int]]:
    """The numbers in each outbox."""
    return [[message.sequence for message in messages] for _, messages in all_kept(folder / "load")]


def unanswered(folder: Path) -> int:
    """Messages that are not acknowledged, in all outboxes."""
    return sum(not message.acknowledged for _, messages in all_kept(folder / "load") for message in messages)


async def test_a_load_measures_sends_drains_and_tells(broker: ShardBroker, tmp_path: Path) -> None:
    homes = [mint_household_id() for _ in range(20)]
    write_homes(broker, homes, tmp_path / "homes")
    async with answering(broker) as heard:
        options = ("--duration", 8, "--drain", 60, "--processes", 2, "--json", tmp_path / "load.json")
        async with load(tmp_path, "--agents", 20, *options) as process:
            assert await asyncio.wait_for(process.wait(), 90) == 0
    summary = json.loads((tmp_path / "load.json").read_text())
    assert summary["recorded"] == summary["acknowledged"] > 20
    assert summary["acknowledged"] <= heard.total() == summary["sent"]
    assert summary["waiting"] == summary["not_recorded"] == 0
    assert set(heard) == {subjects.measurements(broker.shard, home) for home in homes}
    assert summary["ack_ms"]["p50"] > 0
    assert summary["cpu_share_per_agent"] > 0
    manifest = json.loads((tmp_path / "load" / "manifest.json").read_text())
    assert [home["household"] for home in manifest] == sorted(homes)
    assert sum(home["acknowledged"] for home in manifest) == summary["acknowledged"]


async def test_killed_it_dies_whole_and_goes_on_with_the_same_outboxes(broker: ShardBroker, tmp_path: Path) -> None:
    write_homes(broker, [mint_household_id() for _ in range(3)], tmp_path / "homes")

    def recorded(messages: int) -> Callable[[], bool]:
        return lambda: sum(map(len, sequences(tmp_path))) >= messages

    async with load(tmp_path, "--agents", 3) as process:
        await eventually(recorded(6), 60, "minutes are in the outboxes, and nobody acknowledges them")
        process.kill()
        await process.wait()
    await eventually(lambda: not held(tmp_path), 10, "its processes died with it")
    before = sequences(tmp_path)
    assert unanswered(tmp_path) == sum(map(len, before))
    async with answering(broker), load(tmp_path, "--agents", 3) as process:
        await eventually(recorded(sum(map(len, before)) + 6), 60, "it goes on")
        await eventually(lambda: unanswered(tmp_path) <= 6, 60, "what waited is acknowledged")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    for earlier, later in zip(before, sequences(tmp_path), strict=True):
        assert later == list(range(1, len(later) + 1))
        assert len(later) >= len(earlier)


async def test_without_a_broker_it_ends_when_it_is_told_to(broker: ShardBroker, tmp_path: Path) -> None:
    write_homes(broker, [mint_household_id() for _ in range(2)], tmp_path / "homes")
    async with answering(broker), load(tmp_path, "--agents", 2) as process:
        await eventually(lambda: len(list(all_kept(tmp_path / "load"))) == 2, 60, "both agents have begun")
        broker.server.kill()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0


def held(folder: Path) -> bool:
    """Whether a living process works on one of the outboxes."""
    for path in (folder / "load" / "outboxes").glob("*.db"):
        try:
            lock(path).close()
        except OSError:
            return True
    return False


@dataclass
class Shard:
    """What a rung loads."""

    broker: ShardBroker
    store: VictoriaMetrics


@pytest.fixture
def shard(tmp_path: Path, own_victoria_metrics: VictoriaMetrics) -> Iterator[Shard]:
    """A shard with everything that runs in one."""
    broker = ShardBroker(tmp_path / "nats")
    parts = [IngestProcess(tmp_path, broker), WriterProcess(tmp_path, broker, own_victoria_metrics.url)]
    broker.start()
    try:
        asyncio.run(broker.ensure())
        for part in parts:
            part.start()
        yield Shard(broker, own_victoria_metrics)
    finally:
        for program in (*parts, broker.server):
            if program.running:
                program.kill()


def test_what_the_outboxes_know_as_acknowledged_is_in_the_store_exactly(shard: Shard, tmp_path: Path) -> None:
    homes = [mint_household_id() for _ in range(20)]
    asyncio.run(shard.broker.assign(*homes))
    lines: list[str] = []
    results = {
        result.name: result
        for result in real_agents(shard, homes, tmp_path / "load", interval_s=1, duration_s=10, show=lines.append)
    }
    exact = ("agents.waiting", "agents.lost", "agents.doubled", "agents.changed")
    assert {name: results[name].value for name in exact} == dict.fromkeys(exact, 0)
    assert results["agents.phases.peak_to_mean"].met
    assert 0 < results["agents.ack.p50"].value <= results["agents.ack.p95"].value
    assert "connected 20" in lines[-1]
    compared = compare(tmp_path / "load", shard.store)
    assert compared.exact
    assert compared.acknowledged > 20 * 27 * 2


def test_a_comparison_sees_what_is_missing_doubled_changed_or_strange(
    own_victoria_metrics: VictoriaMetrics, tmp_path: Path, household: HouseholdId
) -> None:
    store = own_victoria_metrics
    outbox = Outbox(outbox_path(tmp_path, household), household)
    outbox.append([Minute(A_MINUTE_MS, (10.5, None, -3.0, 4.0), (21.25,))])
    outbox.acknowledge([1])
    outbox.close()

    def put(name: str, number: str, value: float, at_ms: int = A_MINUTE_MS) -> None:
        line = f'{name}{{household="{household}",{number}}} {value} {at_ms}'
        httpx.post(f"{store.url}/api/v1/import/prometheus", content=line, timeout=10).raise_for_status()

    def sees(expected: Comparison) -> None:
        wait_until(lambda: compare(tmp_path, store) == expected, 20, f"the comparison is {expected}")

    put(series.POWER, 'socket="1"', 10.5)
    sees(Comparison(acknowledged=4, missing=3, doubled=0, changed=0, strange=0))
    put(series.POWER, 'socket="3"', -3.1)
    put(series.POWER, 'socket="4"', 4.0)
    put(series.TEMPERATURE, 'thermometer="1"', 21.25)
    put(series.POWER, 'socket="2"', 1.0)
    sees(Comparison(acknowledged=4, missing=0, doubled=0, changed=1, strange=1))
    assert not compare(tmp_path, store).exact
