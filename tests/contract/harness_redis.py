"""The Redis store's harness: a real server, a fresh namespace a test."""

from __future__ import annotations

import inspect
import os
from typing import Any

import pytest
import redis
import redis.asyncio
from queuekit_redis.backend import RedisBackend
from queuekit_redis.store import RedisStore

from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness, Transaction


class Multi(Transaction):
    """A pipeline of redis-py, as an application has one."""

    def __init__(self, url: str, namespace: str, *, blocking: bool) -> None:
        self._client: Any = (redis.Redis if blocking else redis.asyncio.Redis).from_url(url)
        self._hash = "{" + namespace + "}:application"
        self.within = self._pipe = self._client.pipeline()

    async def write(self, key: str, value: str) -> None:
        self._pipe.hset(self._hash, key, value)

    async def commit(self) -> None:
        done = self._pipe.execute()
        if inspect.isawaitable(done):
            await done

    async def abort(self) -> None:
        for close in (self._pipe.reset, getattr(self._client, "aclose", self._client.close)):
            closed = close()
            if inspect.isawaitable(closed):
                await closed


class RedisHarness(Harness):
    """Stores on one real server."""

    name = "redis"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.ahead = 0

    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        backend = RedisBackend()
        store = backend.blocking(self.url, options) if blocking else backend.asynchronous(self.url, options)
        assert isinstance(store, RedisStore)
        store.move_clock(lambda: self.ahead)
        return store

    async def advance(self, ms: int) -> None:
        self.ahead += ms

    async def begin(self, blocking: bool) -> Transaction:
        return Multi(self.url, self.namespace, blocking=blocking)

    async def written(self, key: str) -> str | None:
        with redis.Redis.from_url(self.url) as client:
            value: Any = client.hget("{" + self.namespace + "}:application", key)
        return None if value is None else value.decode()

    async def drop(self) -> None:
        with redis.Redis.from_url(self.url.replace("+cluster", "")) as client:
            for key in client.scan_iter(match="{" + self.namespace + "*", count=1000):
                client.unlink(key)


def make(request: pytest.FixtureRequest) -> Harness:
    other = os.environ.get("QUEUEKIT_TEST_REDIS_URL")  # to run the suite on another version or product
    return RedisHarness(other or request.getfixturevalue("redis_url"))
