"""The Redis store: its families put together. Each family has its own module; no verb lives here."""

from __future__ import annotations

from queuekit_redis.store.alter import Alter
from queuekit_redis.store.control import Control
from queuekit_redis.store.hot import HotPath
from queuekit_redis.store.life import Life
from queuekit_redis.store.notify import Notify
from queuekit_redis.store.produce import Produce
from queuekit_redis.store.usage import Usage


class RedisStore(Life, Produce, HotPath, Alter, Control, Notify, Usage):
    """Every core family over one port. Over a blocking port threads may share it."""
