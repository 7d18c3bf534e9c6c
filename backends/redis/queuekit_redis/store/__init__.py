"""The Redis store: its families put together. Each family has its own module; no verb lives here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from queuekit.store.registry import StoreOptions
from queuekit_redis.cluster import ClusterPort
from queuekit_redis.port import RedisPort
from queuekit_redis.scripts import SCRIPTS, Script
from queuekit_redis.store.alter import Alter
from queuekit_redis.store.control import Control
from queuekit_redis.store.hot import HotPath
from queuekit_redis.store.life import Life
from queuekit_redis.store.moving import Moving
from queuekit_redis.store.notify import Notify
from queuekit_redis.store.produce import Produce
from queuekit_redis.store.schedules import Schedules
from queuekit_redis.store.usage import Usage


class RedisStore(Life, Produce, HotPath, Alter, Control, Notify, Moving, Schedules, Usage):
    """Every core family over one port. Over a blocking port threads may share it."""

    def __init__(self, port: RedisPort, options: StoreOptions, *, scripts: Mapping[str, Script] = SCRIPTS) -> None:
        super().__init__(port, options, scripts=scripts)
        if isinstance(port, ClusterPort):  # what a pipeline there writes may be on another server
            self.capabilities = replace(self.capabilities, parts=self.capabilities.parts - {"within"})
