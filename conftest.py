"""Tests run on several cores: those of one file stay together, and so do those of `tests/`, which share a platform.

Hypothesis has no deadlines here: how long one example takes says more about the machine than about the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest
    from xdist.scheduler import LoadFileScheduling

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """Groups by what shares fixtures. (pytest-xdist 3.8's own groups, by marker, do nothing under pytest 9.2.)"""
    from xdist.scheduler import LoadFileScheduling

    class ByFixtures(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests" if nodeid.startswith("tests/") else str(super()._split_scope(nodeid))

    return ByFixtures(config, log)
