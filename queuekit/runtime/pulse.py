"""The worker's beat: what it tells of itself every few seconds, and how late its event loop is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
from collections.abc import Callable

from queuekit import clock
from queuekit.domain.query import WorkerBeat
from queuekit.runtime.agent import Agent
from queuekit.runtime.claim import Claim
from queuekit.store.protocol import JobStore

EVERY, TTL = 14.2, 30_000  # one beat may be late or lost
_LATE = 1.0  # seconds without a turn of the loop that are worth a warning


class Pulse(Agent):
    """`live` answers the beat's changing fields: running and done; `over` is asked with the memory used."""

    name = "pulse"

    def __init__(
        self, store: JobStore, beat: WorkerBeat, live: Callable[[], tuple[int, int]], lag: Lag,
        over: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__(EVERY, jitter=0.05)
        self._store = store
        self._beat = beat
        self._live = live
        self._lag = lag
        self._over = over

    async def act(self) -> None:
        beat = self._beat
        beat.running, beat.done = self._live()
        beat.rss = rss()
        beat.lag = self._lag.take()
        self._over(beat.rss)
        await self._store.beat(beat, TTL)

    async def farewell(self) -> None:
        """Forget this worker at once."""
        await self._store.beat(self._beat, 0)


class Lag:
    """How late the event loop is. `tick` runs on the loop; `look` in another thread names who holds it up."""

    def __init__(self, on_loop: Callable[[], Claim | None]) -> None:
        self._on_loop = on_loop
        self._log = logging.getLogger("queuekit.runtime.lag")
        self._worst = 0.0
        self._seen = clock.monotonic()
        self._warned = False

    async def run(self, every: float = 0.5) -> None:
        """Until cancelled."""
        while True:
            self._seen = clock.monotonic()
            self._warned = False
            await asyncio.sleep(every)
            self._worst = max(self._worst, clock.monotonic() - self._seen - every)

    def take(self) -> float:
        """The worst since the last time, in seconds."""
        worst, self._worst = self._worst, 0.0
        return round(max(0.0, worst), 4)

    def look(self) -> None:
        """Warn once while a handler blocks the loop."""
        late = clock.monotonic() - self._seen
        if late < _LATE + 0.5 or self._warned:
            return
        self._warned = True
        claim = self._on_loop()
        if claim is None:
            self._log.warning("the event loop has not turned for %.1f s", late)
        else:
            self._log.warning(
                "task %s blocks the event loop for %.1f s now: make it a plain function, then it runs in a thread",
                claim.record.task, late, extra=claim.about,
            )  # fmt: skip


def rss() -> int:
    """Bytes of memory this process holds now; where the system does not tell, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def new_beat(id: str, queues: tuple[str, ...], concurrency: int, version: str) -> WorkerBeat:
    """The first beat of a worker."""
    return WorkerBeat(
        id=id, host=socket.gethostname(), pid=os.getpid(), queues=queues, concurrency=concurrency,
        started_at=clock.now_ms(), version=version, info=json.dumps({"python": ".".join(map(str, _python()))}),
    )  # fmt: skip


def _python() -> tuple[int, int, int]:
    import sys

    return sys.version_info[0], sys.version_info[1], sys.version_info[2]
