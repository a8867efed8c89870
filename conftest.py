"""Tests run on several cores: those of one file stay together, and so do those of `tests/`, which share a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from xdist.scheduler import LoadFileScheduling


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """Groups by what shares fixtures. (pytest-xdist 3.8's own groups, by marker, do nothing under pytest 9.2.)"""
    from xdist.scheduler import LoadFileScheduling

    class ByFixtures(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests" if nodeid.startswith("tests/") else str(super()._split_scope(nodeid))

    return ByFixtures(config, log)
