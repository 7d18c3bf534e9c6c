"""The slots of a consumer: long-lived coroutines that take claims from a deque and run them. No store here.

A task for each job would cost 6 us; a slot that finds the next claim waiting goes on without the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from queuekit import clock
from queuekit.domain.outcome import Kind, Outcome
from queuekit.runtime.claim import Claim, Stop

log = logging.getLogger("queuekit.runtime.slots")
STUBBORN = 1.0  # seconds
BREATH = 0.005  # seconds of uninterrupted running after which others get the event loop


class Runs(Protocol):
    async def run(self, claim: Claim, yielding: Callable[[], None]) -> Outcome | None: ...
    def broken(self, claim: Claim, error: Exception) -> Outcome | None: ...


class Slots:
    """`ended(claim, outcome)` is called once for each claim; `freed()` when a slot may be taken again, and answers
    whether the event loop should have a turn now."""

    def __init__(
        self, size: int, runner: Runs, *, ended: Callable[[Claim, Outcome | None], None], freed: Callable[[], bool]
    ) -> None:
        self.size = size
        self.ready: deque[Claim] = deque()
        self.running: dict[Claim, None] = {}
        self.occupied = 0  # claims in hand: ready, running, or a thread that outlived its timeout
        self.empty = asyncio.Event()
        self.empty.set()
        self._runner = runner
        self._ended_run = ended
        self._freed = freed
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def free(self) -> int:
        """Claims that could be taken."""
        return self.size - self.occupied

    def start(self) -> None:
        """Start the coroutines that are missing."""
        while len(self._tasks) < self.size and not self._closing:
            task = asyncio.create_task(self._slot(), name=f"queuekit-slot-{len(self._tasks) + 1}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def take(self, claims: list[Claim]) -> None:
        """Run these; there may be none: an answer that came too late leaves nothing to run."""
        self.occupied += len(claims)
        if claims:
            self.empty.clear()
        self.ready.extend(claims)
        self.next()

    def next(self) -> None:
        """Let one idle slot go on, if there is work. A slot that is about to wait calls this for the others."""
        while self.ready and self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                return

    def released(self, claim: Claim) -> None:
        """The claim occupies no slot any more."""
        claim.source.held -= 1
        self.occupied -= 1
        if not self.occupied:
            self.empty.set()

    async def close(self) -> None:
        """End the idle slots; a busy one is cancelled. A handler that will not be cancelled is left behind."""
        self._closing = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STUBBORN)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A slot ends only when the worker does; otherwise another takes its place, and the reason is told."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.critical("a slot broke; another one takes its place", exc_info=task.exception())
        if not self._closing:
            self.start()

    async def _slot(self) -> None:
        loop, ready, run = asyncio.get_running_loop(), self.ready, self._runner.run
        since = clock.monotonic()
        while not self._closing:  # a busy slot swallows the cancel of its handler, and ends here
            while not ready:
                future: asyncio.Future[None] = loop.create_future()
                self._idle.append(future)
                await future
                since = clock.monotonic()
            claim = ready.popleft()
            self.running[claim] = None
            try:
                outcome = await run(claim, self.next)
            except Exception as error:  # noqa: BLE001  a defect of ours must not cost the job or the slot
                outcome = self._runner.broken(claim, error)
            except BaseException:  # the loop goes down around a run that had not begun, or would not end
                self._ended_run(claim, None if claim.stop is Stop.LOST else _given_back(claim))
                self.released(claim)
                raise
            finally:
                del self.running[claim]
            self._ended_run(claim, outcome)
            if claim.lingers is not None:
                self._freed()
                await asyncio.wait((claim.lingers,))
            self.released(claim)
            breathe = self._freed()
            now = clock.monotonic()
            if claim.suspended:
                since = now
            elif ready and (breathe or now - since > BREATH):  # without work it waits anyway
                await asyncio.sleep(0)
                since = now


def _given_back(claim: Claim) -> Outcome:
    return Outcome(claim.id, claim.token, Kind.RELEASED)
