"""What is written and printed of a measurement."""

import json
from pathlib import Path

import pytest
from wattfleet_bench import published
from wattfleet_bench.results import Result, at_least, at_most, missed, number, table, write

RESULTS = [
    at_least("pipeline.60k.rate", 51_234.0, "msg/s", 50_000, "median of 3"),
    at_most("pipeline.60k.cpu", 1.23, "CPU-s/M samples", 1.1),
    Result("reader.now.p50", 1.1, "ms"),
]


def test_a_file_is_a_list_of_the_agreed_fields(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    write(path, RESULTS, "2 cores")
    written = json.loads(path.read_text())
    assert [set(one) for one in written] == [{"name", "value", "unit", "target", "met", "conditions"}] * 3
    assert [(one["target"], one["met"]) for one in written] == [(">= 50,000", True), ("<= 1.10", False), (None, None)]
    assert [one["conditions"] for one in written] == ["median of 3; 2 cores", "2 cores", "2 cores"]
    assert [one.name for one in missed(RESULTS)] == ["pipeline.60k.cpu"]


def test_what_was_not_measured_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    with pytest.raises(ValueError, match="nothing was measured"):
        write(path, [Result("rate", float("nan"), "msg/s")])
    assert not path.exists()


def test_tables_are_for_people() -> None:
    lines = table(RESULTS).splitlines()
    assert "51,234" in lines[1]
    assert lines[1].endswith("median of 3")
    assert "NO" in lines[2]
    markdown = table([Result("a|b", 1, "x")], markdown=True)
    assert markdown.splitlines()[-1] == "| a/b | 1.00 | x |  |  |  |"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.01234, "0.0123"), (1.0, "1.00"), (1_234_567, "1,234,567")])
def test_numbers_show_what_matters(value: float, text: str) -> None:
    assert number(value) == text


def test_the_published_numbers_stand_beside_ours() -> None:
    beside = published.beside(RESULTS).splitlines()
    assert "| whole application, automatic acknowledgement | 20,000 | 51,234 | msg/s | pipeline.60k.rate |" in beside
    assert "| database, really stored | 61,000 | 1,537,020 | samples/s | pipeline.60k.rate |" in beside
    assert published.beside([]) == ""
