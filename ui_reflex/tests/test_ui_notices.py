"""What the page says of a home that cannot be shown."""

from importlib import import_module
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["not_ready", "setting_up"], ids=["beside a home", "in its place"])
def test_a_deleted_home_is_not_said_to_be_on_its_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where Reflex links the assets of what is imported
    notice = getattr(import_module("wattfleet_ui.notices"), name)()
    before, _, otherwise = str(notice).partition("This home was deleted by an administrator.")
    assert '=== "Deleted"' in before
    assert "not ready yet" not in before
    assert "not ready yet" in otherwise
