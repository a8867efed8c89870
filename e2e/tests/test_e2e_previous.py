"""Which charts an upgrade begins from: those of the checkout's own history, if it has one."""

import subprocess
from pathlib import Path

import pytest
from wattfleet_e2e.previous import NoHistory, previous_charts


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
    subprocess.run(["git", "-C", str(folder), *name, *arguments], capture_output=True, check=True)


def commit(checkout: Path, chart: str, text: str = "") -> None:
    (checkout / "charts").mkdir(parents=True, exist_ok=True)
    (checkout / "charts" / "Chart.yaml").write_text(chart)
    (checkout / "README").write_text(text)
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "so far")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two commits with different charts, and one more that has nothing to do with them."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init")
    commit(checkout, "first")
    commit(checkout, "second")
    commit(checkout, "second", "something else")
    return checkout


def previous(checkout: Path, tmp_path: Path) -> str:
    (tmp_path / "before").mkdir()
    _, charts = previous_charts(checkout, tmp_path / "before")
    return (charts / "Chart.yaml").read_text()


def test_the_previous_charts_are_the_last_that_were_others(checkout: Path, tmp_path: Path) -> None:
    assert previous(checkout, tmp_path) == "first"


def test_charts_that_are_being_worked_on_follow_those_of_the_last_commit(checkout: Path, tmp_path: Path) -> None:
    (checkout / "charts" / "Chart.yaml").write_text("third")
    assert previous(checkout, tmp_path) == "second"


def test_a_shallow_clone_has_no_previous_charts(checkout: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth=1", checkout.as_uri(), str(shallow))
    with pytest.raises(NoHistory, match="shallow"):
        previous_charts(shallow, tmp_path)


def test_a_folder_that_is_no_checkout_has_no_previous_charts(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match="not a git repository"):
        previous_charts(tmp_path, tmp_path)
