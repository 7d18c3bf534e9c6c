"""Takes jobs from workers that went silent. Any worker does it for the queues it consumes; two do no harm."""

from __future__ import annotations

from queuekit.runtime.agent import Agent
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

_LIMIT = 100
_CALLS = 20  # a turn
_LEAST = 100  # ms
# A turn comes a little before it is due: what a worker of the default lease held runs again within 35 s.
_EARLY, _JITTER = 0.87, 0.05
# Where no job is active none can be lost within a lease, which is six cadences: look less often then, but well within
# the three cadences that would be an absence; for short leases that margin is too small.
_CALM, _MARGIN = 2.7, 3000  # cadences, ms


def cadence(source: Source) -> int:
    """Milliseconds between two calls: a sixth of the lease, so that no absence in which a live worker's lease can run
    out goes unnoticed (decision 074), and never slower than the queue's own checks."""
    return max(_LEAST, min(source.check, source.lease // 6))


class Recoverer(Agent):
    name = "recoverer"

    def __init__(self, store: JobStore, source: Source, announcer: Announcer) -> None:
        super().__init__(cadence(source) / 1000 * _EARLY, jitter=_JITTER)
        self._store = store
        self._source = source
        self._announcer = announcer

    async def act(self) -> None:
        queue, every = self._source.queue, cadence(self._source)
        self._every = every / 1000 * _EARLY  # a person may have changed the lease
        for _ in range(_CALLS):
            said = await self._store.recover(queue, _LIMIT, every)
            if said.calm and every >= _MARGIN:
                self._every = every / 1000 * _CALM
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
