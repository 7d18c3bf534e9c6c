"""Applies retention by age, and the store's own housekeeping, a bounded piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from queuekit.runtime.agent import Agent
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

EVERY = 90.0  # seconds
_PIECE = 1000
_PIECES = 20  # a turn and queue


class Pruner(Agent):
    name = "pruner"

    def __init__(self, store: JobStore, sources: Sequence[Source]) -> None:
        super().__init__(EVERY, jitter=0.3, first=EVERY / 9)
        self._store = store
        self._sources = sources

    async def act(self) -> None:
        for source in self._sources:
            for _ in range(_PIECES):
                removed, more = await self._store.prune(source.queue, limit=_PIECE)
                if removed:
                    self._log.debug("queue %s: %d ended jobs removed", source.queue, removed)
                if not more:
                    break
                await asyncio.sleep(0.01)  # others use the store too
