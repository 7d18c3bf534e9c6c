"""Looks at what people set while the worker runs: the lease and the concurrency of its queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from queuekit.domain.limits import QueueConf
from queuekit.runtime.agent import Agent
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

EVERY = 30.0  # seconds


class Tuner(Agent):
    """`tune(source, conf)` is called at each look."""

    name = "tuner"

    def __init__(self, store: JobStore, sources: Sequence[Source], tune: Callable[[Source, QueueConf], None]) -> None:
        super().__init__(EVERY, jitter=0.2, first=EVERY)
        self._store = store
        self._sources = sources
        self._tune = tune

    async def act(self) -> None:
        for source in self._sources:
            self._tune(source, await self._store.conf(source.queue))
