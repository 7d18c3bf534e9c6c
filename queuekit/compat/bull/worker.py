"""`Worker`: the kit's worker on one queue, with Bull's `on`, `off` and `close`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from queuekit.compat.bull.events import CLOSED, Listener, listen
from queuekit.compat.bull.options import parse_bull_worker_options
from queuekit.compat.bull.processors import place, register

if TYPE_CHECKING:
    from queuekit import Profile, QueueKit
    from queuekit import Worker as PublicWorker
    from queuekit.compat.bull.job import JobProcessor
    from queuekit.compat.bull.queue import Queue

F = TypeVar("F", bound=Callable[..., object])
log = logging.getLogger("queuekit.compat")


class Worker:
    """See `create_worker`. `run()` blocks and minds signals; `async with` and `arun()` live inside another event loop.

    Starts once.
    """

    def __init__(
        self,
        queue: str | Queue,
        processor: JobProcessor[Any],
        options: Mapping[str, Any] | Profile | str | None = None,
        *,
        kit: QueueKit | None = None,
    ) -> None:
        self._kit, self.name = place(queue, kit)
        self._line = register(self._kit, self.name, processor, None, parse_bull_worker_options(options))
        self._inner: PublicWorker | None = None  # of the app that is current at the start, where a kit has several
        self._listeners: list[Listener] = []
        self._closed = False
        self._line.owners += 1

    # ------------------------------------------------------------ hearing
    @overload
    def on(self, event: str, /) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str, fn: F, /) -> F: ...
    def on(self, event: str, fn: Any = None, /) -> Any:
        """Tell `fn` of what happens to the queue's jobs in this process; `@worker.on("failed")` will do, too.

        completed(job, result), failed(job, error) after each failed run, active(job), progress(job, progress),
        stalled(job id), error(error), drained, paused, resumed, closed; and ours: cancelled(job), parked(job).
        """
        if fn is None:
            return lambda fn: self.on(event, fn)
        listener = Listener(event, fn)
        listen(self._kit, self.name, listener)
        self._listeners.append(listener)
        return fn

    def off(self, event: str, fn: Callable[..., object], /) -> None:
        """Tell `fn` no more."""
        for listener in list(self._listeners):
            if (listener.event, listener.fn) == (event, fn):
                listener.end()
                self._listeners.remove(listener)

    # ------------------------------------------------------------ running
    def run(self) -> int:
        """Run until TERM, Ctrl-C or `close()`; the exit code. Raises StoreUnavailable, ConfigError."""
        if _running_loop() is not None:
            raise RuntimeError("run() inside a running event loop: `async with worker`, or await worker.arun()")
        try:
            return self._begin().run()
        finally:
            asyncio.run(self._ended())

    async def arun(self, *, signals: bool = False) -> None:
        """Run on this event loop until it is closed. Being cancelled is a stop at once."""
        try:
            await self._begin().arun(signals=signals)
        finally:
            await self._ended()

    async def __aenter__(self) -> Self:
        await self._begin().__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._inner is not None:
                await self._inner.__aexit__(*exc)
        finally:
            await self._ended()

    async def aclose(self, force: bool = False) -> None:
        """Claim nothing more, let what runs end within the grace, or give it back at once with `force`."""
        if self._inner is not None:
            await self._inner.stop(0 if force else None)
        await self._ended()

    def close(self, force: bool = False) -> None:
        """See `aclose`; from any thread. On the loop it runs on nothing can wait for it: it ends behind this call."""
        inner = self._inner
        loop = None if inner is None else inner._loop  # noqa: SLF001  run() makes a loop that nobody else knows
        if inner is None or loop is None or not loop.is_running():
            self._release()
        elif loop is _running_loop():
            inner.ask_stop(0 if force else None)
        else:
            asyncio.run_coroutine_threadsafe(inner.stop(0 if force else None), loop).result()

    def __repr__(self) -> str:
        return f"<Worker of queue {self.name!r}>"

    def _begin(self) -> PublicWorker:
        if self._inner is not None or self._closed:
            raise RuntimeError("a worker starts once: make another one")
        self._inner = self._kit.worker(queues=[self.name])
        return self._inner

    async def _ended(self) -> None:
        if not self._release():
            return
        for listener in list(self._listeners):
            if listener.event == CLOSED:
                try:
                    told = listener.fn()
                    if asyncio.iscoroutine(told):
                        await told
                except Exception:
                    log.exception("a listener of 'closed' of queue %r failed", self.name)

    def _release(self) -> bool:
        """Let another worker take the queue over, and tell nobody more; whether this had not been said yet."""
        for listener in self._listeners:
            listener.end()
        first, self._closed = not self._closed, True
        self._line.owners -= first
        return first


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
