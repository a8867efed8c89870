"""What the page says of a home that cannot be shown."""

import pytest
import reflex as rx
from wattfleet_ui.notices import not_ready, setting_up


@pytest.mark.parametrize("notice", [not_ready(), setting_up()], ids=["beside a home", "in its place"])
def test_a_deleted_home_is_not_said_to_be_on_its_way(notice: rx.Component) -> None:
    before, _, otherwise = str(notice).partition("This home was deleted by an administrator.")
    assert '=== "Deleted"' in before
    assert "not ready yet" not in before
    assert "not ready yet" in otherwise
