"""Takes jobs from workers that went silent. Any worker does it for the queues it consumes; two do no harm."""

from __future__ import annotations

from queuekit.runtime.agent import Agent
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

_LIMIT = 100
_CALLS = 20  # a turn


class Recoverer(Agent):
    name = "recoverer"

    def __init__(self, store: JobStore, source: Source, announcer: Announcer) -> None:
        # Never later than the contract's cadence: a late caller would begin a grace.
        super().__init__(source.check / 1000 * 0.95, jitter=0.05)
        self._store = store
        self._source = source
        self._announcer = announcer

    async def act(self) -> None:
        queue = self._source.queue
        for _ in range(_CALLS):
            said = await self._store.recover(queue, _LIMIT, self._source.check)
            if said.suspects:
                self._log.warning(
                    "queue %s: %d jobs of a silent worker will run again: %s", queue, len(said.suspects),
                    ", ".join(said.suspects[:10]),
                )  # fmt: skip
            if said.crashed:
                self._log.error("queue %s: failed as crash_loop: %s", queue, ", ".join(said.crashed[:10]))
            for ids, crashed in ((said.suspects, False), (said.crashed, True)):
                if ids and self._announcer.wants_stalled(crashed=crashed):
                    records = await self._store.get(queue, ids)
                    self._announcer.stalled([r for r in records if r is not None], crashed=crashed)
            if not said.more:
                return
