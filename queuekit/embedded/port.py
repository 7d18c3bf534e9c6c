"""The driver port over sqlite3, blocking and asynchronous. Nothing here knows a table; it bounds, commits, translates.

The blocking one lends a connection to each call; the asynchronous one has one thread that works for its loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

from queuekit import clock
from queuekit.embedded.hub import Hub, attach, detach
from queuekit.embedded.transact import Act, Done, Write, alone, look, together
from queuekit.errors import StoreUnavailable

R = TypeVar("R")
SPARE: Final = 1.0  # seconds beyond its timeout that an asynchronous call waits for a disk that does not answer


class BlockingPort:
    """Any thread calls; each call has a connection of its own."""

    blocking = True

    def __init__(self, key: object, path: Path | None, *, lasting: bool, timeout: float) -> None:
        self._key, self._path, self._lasting, self.timeout = key, path, lasting, timeout
        self._hub: Hub | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def hub(self) -> Hub:
        """This process's hub of the file; a child of a fork has its own."""
        if self._pid != os.getpid():
            self._hub, self._pid, self._lock = None, os.getpid(), threading.Lock()
        with self._lock:
            if self._hub is None:
                self._hub = attach(self._key, self._path, lasting=self._lasting)
                if self._hub.private:
                    self._hub.pool.prepare(self.timeout)
            return self._hub

    async def open(self) -> None:
        self.hub.pool.prepare(self.timeout)

    async def run(
        self, act: Act[R], *, first: Act[R | None] | None = None, after: Callable[[], None] | None = None
    ) -> R:
        """What `first` finds on a snapshot if it finds something, else `act` in a transaction; then `after`."""
        hub, write = self.hub, Write(act, first, after, clock.monotonic() + self.timeout)
        answer: R = hub.pool.use(lambda conn: alone(conn, hub, write))
        return answer

    async def read(self, act: Act[R]) -> R:
        """`act` on a snapshot."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        return hub.pool.use(lambda conn: look(conn, hub, act, deadline))

    def bell(self) -> ThreadBell:
        return ThreadBell()

    async def park(self, bell: ThreadBell, seconds: float) -> None:
        """Wait until the bell rings, at most so long."""
        bell.event.wait(seconds)
        bell.event.clear()

    async def sleep(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def monotonic(self) -> float:
        return clock.monotonic()

    async def close(self) -> None:
        with self._lock:
            hub, self._hub = self._hub, None
        if hub is not None and self._pid == os.getpid():
            detach(self._key, hub)


class ThreadBell:
    """A bell for a thread."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event = threading.Event()

    def ring(self) -> None:
        self.event.set()


class LoopBell:
    """A bell for a task of one loop."""

    __slots__ = ("event", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def ring(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:  # the loop that waited has closed
            return


GROUP: Final = 64  # calls that share a commit


@dataclass(slots=True, eq=False)
class Call:
    """What a loop asks of its thread."""

    do: Write | Callable[[], Any]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def settle(self, done: Done) -> None:
        """Answer, if somebody still listens."""
        try:
            self.loop.call_soon_threadsafe(_settle, self.answer, done)
        except RuntimeError:  # the loop that asked has closed
            return


Asked: TypeAlias = "Call | Callable[[], None] | None"  # a call, what is done as the last, the end


class AsyncPort:
    """One thread with one connection works for the loop, in the order of the calls."""

    blocking = False

    def __init__(self, key: object, path: Path | None, *, lasting: bool, timeout: float) -> None:
        self._key, self._path, self._lasting, self.timeout = key, path, lasting, timeout
        self._hub: Hub | None = None
        self._pid = os.getpid()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """No thread yet, and nothing called; a thread ends with its port."""
        self._calls: SimpleQueue[Asked] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._calls.put, None)

    @property
    def hub(self) -> Hub:
        """This process's hub of the file. After a fork the parent's is left alone; its thread is not here."""
        if self._pid != os.getpid():
            self._hub, self._pid = None, os.getpid()
            self._begin_anew()
        if self._hub is None:
            self._hub = attach(self._key, self._path, lasting=self._lasting)
        return self._hub

    async def open(self) -> None:
        hub = self.hub
        if self._thread is None:
            self._thread = threading.Thread(
                target=_serve, args=(hub, self._calls), name="queuekit-embedded", daemon=True
            )
            self._thread.start()
        await self._cross(lambda: hub.pool.prepare(self.timeout))

    async def run(
        self, act: Act[R], *, first: Act[R | None] | None = None, after: Callable[[], None] | None = None
    ) -> R:
        """What `first` finds on a snapshot if it finds something, else `act` in a transaction; then `after`."""
        answer: R = await self._cross(Write(act, first, after, clock.monotonic() + self.timeout))
        return answer

    async def read(self, act: Act[R]) -> R:
        """`act` on a snapshot."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        answer: R = await self._cross(lambda: hub.pool.use(lambda conn: look(conn, hub, act, deadline)))
        return answer

    async def _cross(self, call: Write | Callable[[], Any]) -> Any:
        """Let the thread do it. A task cancelled meanwhile leaves a call that is done or not, as a lost reply would."""
        if self._thread is None:
            await self.open()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        timer = loop.call_later(self.timeout + SPARE, _late, answer, self.hub)
        self._calls.put(Call(call, answer, loop))
        try:
            return await answer
        finally:
            timer.cancel()

    def bell(self) -> LoopBell:
        return LoopBell()

    async def park(self, bell: LoopBell, seconds: float) -> None:
        """Wait until the bell rings, at most so long."""
        timer = bell.loop.call_later(seconds, bell.event.set)
        try:
            await bell.event.wait()
            bell.event.clear()
        finally:
            timer.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def monotonic(self) -> float:
        return clock.monotonic()

    async def close(self) -> None:
        if self._thread is not None:
            with suppress(StoreUnavailable):
                await self._cross(_nothing)  # what was called before has ended
            self._end()
            self._begin_anew()
        hub, self._hub = self._hub, None
        if hub is not None:
            detach(self._key, hub)

    def abandon(self) -> None:
        """`close` where the loop has been closed: the thread ends what was called, lets the file go, and ends."""
        hub, self._hub = self._hub, None
        if hub is not None and self._pid == os.getpid():
            self._calls.put(partial(detach, self._key, hub))
        self._end()
        self._begin_anew()


def _nothing() -> None:
    return


def _serve(hub: Hub, calls: SimpleQueue[Asked]) -> None:
    """The thread of an asynchronous port: what was called while it was busy is done together."""
    going = True
    while going:
        batch = [calls.get()]
        while len(batch) < GROUP and not calls.empty():
            batch.append(calls.get())
        going = None not in batch
        _do(hub, [call for call in batch if isinstance(call, Call)])
        for last in batch:
            if callable(last):
                last()
        del batch, last  # nothing of a call that is done is kept


def _do(hub: Hub, batch: list[Call]) -> None:
    """In their order; writes next to each other share a transaction."""
    for writes, some in groupby(batch, lambda call: isinstance(call.do, Write)):
        wanted = [call for call in some if not call.answer.done()]  # else the caller is gone: as if it had never asked
        if writes and len(wanted) > 1:
            for call, done in zip(wanted, _group(hub, wanted), strict=True):
                call.settle(done)
        else:
            for call in wanted:
                call.settle(_one(hub, call.do))


def _group(hub: Hub, wanted: list[Call]) -> list[Done]:
    try:
        return hub.pool.use(lambda conn: together(conn, hub, [c.do for c in wanted if isinstance(c.do, Write)]))
    except Exception as error:  # noqa: BLE001  it is raised where the calls were made
        return [Done(error=error) for _ in wanted]


def _one(hub: Hub, do: Write | Callable[[], Any]) -> Done:
    try:
        return Done(hub.pool.use(lambda conn: alone(conn, hub, do)) if isinstance(do, Write) else do())
    except BaseException as error:  # noqa: BLE001  it is raised where the call was made
        return Done(error=error)


def _settle(answer: asyncio.Future[Any], done: Done) -> None:
    if answer.done():
        return
    if done.error is not None:
        answer.set_exception(done.error)
    else:
        answer.set_result(done.answer)


def _late(answer: asyncio.Future[Any], hub: Hub) -> None:
    if not answer.done():
        answer.set_exception(StoreUnavailable(f"{hub.path}: the disk did not answer in time", outcome="unknown"))
