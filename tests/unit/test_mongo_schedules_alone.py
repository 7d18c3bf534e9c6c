"""Schedules on a MongoDB without transactions: the conformance families, over one port.

But for wake-ups: such a server is polled, and for jobs that wait.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuekit.testing.conformance.fixtures import able, contended, harness, mover, open_store, pair, scheduling, store
from queuekit.testing.conformance.schedules import *  # noqa: F403
from queuekit.testing.conformance.schedules_fire import *  # noqa: F403
from queuekit.testing.conformance.schedules_live import *  # noqa: F403
from queuekit.testing.conformance.schedules_moving import *  # noqa: F403
from queuekit.testing.servers import MongoServer
from tests.contract.harness_mongo import MongoHarness
from tests.unit.test_mongo_store import Standalone

__all__ = ["able", "contended", "harness", "mover", "open_store", "pair", "scheduling", "store"]
for _name in [name for name in globals() if name.startswith("test_") and ("wake" in name)]:
    del globals()[_name]


@pytest.fixture(scope="module")
def server(mongo_server: MongoServer) -> Iterator[Standalone]:
    with Standalone(binary=mongo_server.binary) as alone:
        yield alone


@pytest.fixture
def port() -> str:
    return "blocking"


@pytest.fixture
def made(server: Standalone) -> MongoHarness:
    return MongoHarness(server.url)
