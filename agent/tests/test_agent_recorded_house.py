import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wattfleet_agent.recorded_house import MalformedRecording, RecordedHouse
from wattfleet_agent.sensors import Minute

HEADER = "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;S1;S2;S3\n"
PARIS = ZoneInfo("Europe/Paris")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def read(folder: Path, text: str, zone: ZoneInfo = PARIS) -> list[Minute]:
    (folder / "house.csv").write_text(text)
    return list(RecordedHouse(folder / "house.csv", zone).minutes())


def row(when: str, values: str = "4.216;0.418;234.840;18.400;0.000;1.000;17.000") -> str:
    return f"{when};{values}\n"


def test_a_row_becomes_three_sub_meters_and_what_they_do_not_measure(tmp_path: Path) -> None:
    (minute,) = read(tmp_path, HEADER + row("16/12/2006;17:24:00").replace("\n", " \n"))
    assert minute.interval_start_ms == ms("2006-12-16T17:24+01:00")
    assert minute.power_w == (0.0, 60.0, 1020.0, 4216 - 60 - 1020)


def test_missing_values_stay_missing_and_take_the_rest_with_them(tmp_path: Path) -> None:
    rows = [
        row("1/1/2026;00:00:00", "1.5;?;?;?;1.0;?;2.0"),
        row("1/1/2026;00:01:00", "?;;;;1.0;0.0;2.0"),
        row("1/1/2026;00:02:00", "?;?;?;?;?;?;"),
        row("1/1/2026;00:03:00", "1.0;0;0;0;0.0;0.0;0.0"),
    ]
    minutes = read(tmp_path, "".join(rows))
    assert [m.power_w for m in minutes] == [(60, None, 120, None), (60, 0, 120, None), (0, 0, 0, 1000)]


def test_a_gzipped_file_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "house.csv.gz"
    path.write_bytes(gzip.compress((HEADER + row("16/12/2006;17:24:00")).encode()))
    assert len(list(RecordedHouse(path, PARIS).minutes())) == 1
    whole = path.read_bytes()
    for broken in (whole[:-12], b"no gzip at all", whole[:20] + b"\xff" * 30):
        path.write_bytes(broken)
        with pytest.raises(MalformedRecording, match=r"line \d+: damaged gzip file"):
            list(RecordedHouse(path, PARIS).minutes())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row("16/12/2006;17:25:00", "1;2"), "4 columns instead of 9"),
        (row("16/12/2006;17:25:00", "x;0;0;0;0;0;0"), "'x' is not a number"),
        (row("16/12/2006;17:25:00", "nan;0;0;0;0;0;0"), "'nan' is not a plausible measurement"),
        (row("16/12/2006;17:25:00", "1;0;0;0;1e300;0;0"), "'1e300' is not a plausible measurement"),
        (row("16-12-2006;17:25:00"), "'16-12-2006' is not a date"),
        (row("31/2/2007;17:25:00"), "day"),
        (row("16/12/2006;17:25"), "'17:25' is not a time"),
        (row("16/12/2006;25:25:00"), "hour"),
        (row("16/12/2006;17:25:30"), "is not a whole minute"),
        (row("16/12/2006;17:24:00"), "does not come after the row before it"),
        (row("15/12/2006;17:24:00"), "does not come after the row before it"),
        (row("25/3/2007;02:30:00"), "does not exist in Europe/Paris"),
        (row("1/1/2999;00:00:00"), "is in the future"),
        ("é" * 2000, "not a text of plain characters"),
        ("1" * 5000, "columns"),
    ],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(MalformedRecording, match="line 3: ") as raised:
        read(tmp_path, HEADER + row("16/12/2006;17:24:00") + line)
    assert reason in str(raised.value)


def test_the_hour_that_comes_twice_is_read_in_the_order_of_its_rows(tmp_path: Path) -> None:
    begin = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)
    utc = [begin + timedelta(minutes=20 * i) for i in range(12)]
    text = "".join(row(f"{at.astimezone(PARIS):%d/%m/%Y;%H:%M:%S}") for at in utc)
    assert [m.interval_start_ms for m in read(tmp_path, text)] == [round(at.timestamp() * 1000) for at in utc]


def test_an_hour_that_is_there_once_of_two_is_the_first(tmp_path: Path) -> None:
    minutes = read(tmp_path, row("25/10/2026;02:30:00") + row("25/10/2026;03:00:00"))
    assert [m.interval_start_ms for m in minutes] == [ms("2026-10-25T02:30+02:00"), ms("2026-10-25T03:00+01:00")]


zones = st.sampled_from(["Europe/Paris", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"])
moments = st.integers(int(datetime(2005, 1, 1, tzinfo=UTC).timestamp()) // 60, 29_500_000)


@given(zone=zones, begin=moments, steps=st.lists(st.integers(1, 90), max_size=40))
def test_any_recording_without_gaps_over_an_hour_reads_back_as_it_was(zone: str, begin: int, steps: list[int]) -> None:
    house = RecordedHouse(Path("unused"), ZoneInfo(zone))
    previous_ms, at = -1, begin
    for step in steps:
        local = datetime.fromtimestamp(at * 60, UTC).astimezone(ZoneInfo(zone))
        first_pass = round(local.replace(fold=0).timestamp() * 1000)
        read_ms = house._start_ms(f"{local:%d/%m/%Y}", f"{local:%H:%M:%S}", previous_ms)
        # Only when nothing of an hour's first pass was recorded may its second be taken for it.
        assert read_ms == (at * 60_000 if previous_ms >= first_pass else first_pass)
        previous_ms = read_ms
        at += step


@given(st.text(st.characters(codec="ascii"), max_size=120))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    house = RecordedHouse(Path("unused"), PARIS)
    try:
        minute = house._minute(text, -1)
    except ValueError:
        return
    assert minute.interval_start_ms % 60_000 == 0


def test_the_fingerprint_tells_recordings_and_zones_apart(tmp_path: Path) -> None:
    path = tmp_path / "house.csv"
    path.write_text(row("16/12/2006;17:24:00"))
    first = RecordedHouse(path, PARIS).fingerprint()
    assert RecordedHouse(path, ZoneInfo("UTC")).fingerprint() != first
    path.write_text(row("16/12/2006;17:25:00"))
    assert RecordedHouse(path, PARIS).fingerprint() != first
