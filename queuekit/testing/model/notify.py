"""Model: wait, watch. The only places where the model waits at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from queuekit import clock
from queuekit.domain.job import JobRecord
from queuekit.domain.state import TERMINAL
from queuekit.testing.model.base import Base, snapshot

T = TypeVar("T")


class Notify(Base):
    async def wait(self, queues: Sequence[str], timeout: int) -> list[str]:
        def marked() -> list[str] | None:
            woken = [name for name in queues if self.peek(name).marker]
            for name in woken:
                self.peek(name).marker = False
            return woken or None

        return await self._until(marked, timeout) or []

    async def watch(self, queue: str, id: str, timeout: int) -> JobRecord | None:
        def look() -> tuple[JobRecord | None] | None:
            q = self.peek(queue)
            job = q.jobs.get(id)
            if job is not None and job.state not in TERMINAL:
                q.awaited.add(id)
                return None
            return (None if job is None else snapshot(job),)

        ended = await self._until(look, timeout)
        if ended is not None:
            return ended[0]
        with self.world.lock:
            job = self.peek(queue).jobs.get(id)
            return None if job is None else snapshot(job)

    async def _until(self, look: Callable[[], T | None], timeout: int) -> T | None:
        """What `look` finds, asked again at each change; None after `timeout` ms of real time."""
        deadline = clock.monotonic() + timeout / 1000
        with self._listening() as (heard, clear):
            while True:
                clear()
                with self.world.lock:
                    found = look()
                left = deadline - clock.monotonic()
                if found is not None or left <= 0:
                    return found
                await heard(left)

    @contextmanager
    def _listening(self) -> Iterator[tuple[Callable[[float], Awaitable[None]], Callable[[], None]]]:
        key = object()
        if self.blocking:
            bell = threading.Event()

            async def heard(left: float) -> None:
                bell.wait(left)

            self.world.listeners[key], clear = bell.set, bell.clear
        else:
            loop, ring = asyncio.get_running_loop(), asyncio.Event()

            async def heard(left: float) -> None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(ring.wait(), left)

            def tell() -> None:
                with suppress(RuntimeError):  # the loop that waited has closed
                    loop.call_soon_threadsafe(ring.set)

            self.world.listeners[key], clear = tell, ring.clear
        try:
            yield heard, clear
        finally:
            del self.world.listeners[key]
