"""The Redis store of queuekit, found by the entry-point group `queuekit.backends`."""

from __future__ import annotations

from queuekit_redis.backend import RedisBackend
from queuekit_redis.store import RedisStore

__all__ = ["RedisStore", "backend"]

backend = RedisBackend()
