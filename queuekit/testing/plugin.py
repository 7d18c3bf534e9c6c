"""The pytest plugin, for those who ask for it: `pytest_plugins = ["queuekit.testing.plugin"]` in a conftest.py.

To test an application's own tasks, override `kit`:

    @pytest.fixture
    def kit(clock):
        with queuekit.testing.isolated(shop.kit, clock) as kit:
            yield kit
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuekit.testing.clock import VirtualClock
from queuekit.testing.kit import TestKit


@pytest.fixture
def clock() -> VirtualClock:
    """The store's time; `clock.travel(hours=23)` moves it."""
    return VirtualClock()


@pytest.fixture
def kit(clock: VirtualClock) -> Iterator[TestKit]:
    """A kit over memory and the `clock`: register tasks on it, `kit.drain()`, `kit.assert_enqueued(...)`."""
    kit = TestKit(clock=clock)
    yield kit
    kit.close()
