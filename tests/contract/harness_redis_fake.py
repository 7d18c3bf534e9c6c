"""The Redis store on fakeredis, whose scripts run in lupa: the fast inner loop, for one thread only.

fakeredis has no `struct` library, so the scripts get a stand-in for the formats they use.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from queuekit_redis.port import AsyncPort, BlockingPort
from queuekit_redis.scripts import NAMES, assemble
from queuekit_redis.store import RedisStore

from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness

_STRUCT = (Path(__file__).parent / "struct.lua").read_text()
SCRIPTS = {name: assemble(name, _STRUCT) for name in NAMES}


class FakeStore(RedisStore):
    """Takes fakeredis for the server it plays: it has no INFO, so it counts nothing of itself either."""

    capabilities = replace(RedisStore.capabilities, parts=RedisStore.capabilities.parts - {"usage", "within"})

    async def _info(self) -> dict[str, str]:
        return {"redis_version": "7.0.0", "maxmemory_policy": "noeviction", "aof_enabled": "1"}


class FakeHarness(Harness):
    """Stores on one fake server in this process."""

    name = "redis_fake"
    contended = False

    def __init__(self) -> None:
        super().__init__()
        self.server = fakeredis.FakeServer()
        self.ahead = 0

    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        port: Any
        if blocking:
            port = BlockingPort(fakeredis.FakeRedis(server=self.server), "fake")
        else:
            port = AsyncPort(fakeredis.FakeAsyncRedis(server=self.server), "fake")
        store = FakeStore(port, options, scripts=SCRIPTS)
        store.move_clock(lambda: self.ahead)
        return store

    async def advance(self, ms: int) -> None:
        self.ahead += ms


def make(request: pytest.FixtureRequest) -> Harness:
    return FakeHarness()
