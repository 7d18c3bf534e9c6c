"""The Redis store on a cluster: one node with all slots, scripts under `#!lua`, a fresh namespace a test."""

from __future__ import annotations

import pytest
import redis
from queuekit_redis.backend import RedisBackend
from queuekit_redis.store import RedisStore

from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness
from tests.contract.cluster import strict


class ClusterHarness(Harness):
    """Stores over the cluster port."""

    name = "redis_cluster"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.ahead = 0

    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        backend = RedisBackend()
        store = backend.blocking(self.url, options) if blocking else backend.asynchronous(self.url, options)
        assert isinstance(store, RedisStore)
        store._scripts = strict(self.url)
        store.move_clock(lambda: self.ahead)
        return store

    async def advance(self, ms: int) -> None:
        self.ahead += ms

    async def drop(self) -> None:
        with redis.Redis.from_url(self.url.replace("+cluster", "")) as client:
            for key in client.scan_iter(match="{" + self.namespace + "*", count=1000):
                client.unlink(key)


def make(request: pytest.FixtureRequest) -> Harness:
    return ClusterHarness(request.getfixturevalue("redis_cluster_url"))
