"""Threads for plain functions. Daemon threads of our own: a handler that never returns must not keep a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeAlias

_Work: TypeAlias = "tuple[Callable[[], object], asyncio.Future[object]]"


class Threads:
    """At most `size` threads, started when first needed and kept. `run` is for one event loop."""

    def __init__(self, size: int, name: str = "queuekit") -> None:
        self._size = size
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._started = 0
        self._busy = 0

    def run(self, call: Callable[[], object]) -> asyncio.Future[object]:
        """A future of what `call` returns in a thread. Cancelling it does not stop the thread: nothing can."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        if self._busy + 1 > self._started < self._size:
            name = f"{self._name}-{self._started + 1}"
            threading.Thread(target=self._serve, args=(loop,), name=name, daemon=True).start()
            self._started += 1  # only now: a system out of threads raises, and may have some later
        self._busy += 1
        future.add_done_callback(self._freed)
        self._work.put((call, future))
        return future

    def grow(self, size: int) -> None:
        """Allow more threads."""
        self._size = max(self._size, size)

    def close(self) -> None:
        """Let idle threads end; a busy one ends with its call."""
        for _ in range(self._started):
            self._work.put(None)

    def _freed(self, future: asyncio.Future[object]) -> None:
        self._busy -= 1

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (work := self._work.get()) is not None:
            call, future = work
            result: object = None
            failure: BaseException | None = None
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  whatever the handler raises is its outcome, SystemExit too
                failure = error
            with suppress(RuntimeError):  # the loop is closed: the worker gave up on this thread
                loop.call_soon_threadsafe(_deliver, future, result, failure)
            del work, call, future, result, failure  # an idle thread keeps nothing of its last job alive


def _deliver(future: asyncio.Future[object], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, (StopIteration, KeyboardInterrupt, SystemExit)):
        # A future refuses the first and re-raises the others through the loop: carry them inside.
        future.set_result(Raised(failure))
    elif isinstance(failure, GeneratorExit):  # raised in a coroutine it would mean that somebody closes it
        future.set_exception(RuntimeError("the handler raised GeneratorExit"))
    else:
        future.set_exception(failure)


class Raised:
    """An exception that a future cannot carry as one."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error
