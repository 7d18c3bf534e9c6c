"""The driver port over sqlite3, blocking and asynchronous. Nothing here knows a table; it bounds, commits, translates.

The blocking one lends a connection to each call; the asynchronous one has one thread that works for its loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from queuekit import clock
from queuekit.embedded import replies
from queuekit.embedded.hub import Hub, attach, detach
from queuekit.errors import StoreUnavailable

R = TypeVar("R")
Act = Callable[[sqlite3.Connection], R]
SPARE: Final = 1.0  # seconds beyond its timeout that an asynchronous call waits for a disk that does not answer


class Bell(Protocol):
    """Something to wait on that any thread may ring."""

    def ring(self) -> None: ...


def transact(conn: sqlite3.Connection, hub: Hub, act: Act[R], deadline: float) -> R:
    """`act` in one BEGIN IMMEDIATE transaction; everything or nothing."""
    if not hub.lock.acquire(timeout=max(0.0, deadline - clock.monotonic())):
        raise StoreUnavailable(f"{hub.path}: another call held it for the whole timeout", outcome="refused")
    committing = False
    try:
        _begin(conn, deadline)
        answer = act(conn)
        committing = True
        conn.execute("COMMIT")
        return answer
    except sqlite3.Error as error:
        _rollback(conn)
        raise replies.translate(error, hub.path, committing=committing) from error
    except BaseException:
        _rollback(conn)
        raise
    finally:
        hub.lock.release()


def look(conn: sqlite3.Connection, hub: Hub, act: Act[R], deadline: float) -> R:
    """`act` on one snapshot; it waits for no writer."""
    while True:
        try:
            conn.execute("BEGIN")
            try:
                return act(conn)
            finally:
                _rollback(conn)
        except sqlite3.Error as error:
            if replies.code(error) != sqlite3.SQLITE_BUSY or clock.monotonic() >= deadline:
                raise replies.translate(error, hub.path) from error


def _begin(conn: sqlite3.Connection, deadline: float) -> None:
    """Take the write lock. SQLite's own waiting grows to 100 ms a sleep; a job waits too long behind that."""
    pause = 0.0005
    while True:
        try:
            conn.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if replies.code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or clock.monotonic() >= deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreading retries needs no secrecy
        pause = min(pause * 2, 0.004)


def _rollback(conn: sqlite3.Connection) -> None:
    if conn.in_transaction:
        try:
            conn.execute("ROLLBACK")
        except sqlite3.Error:  # SQLite rolled back by itself, or will when the connection goes
            return


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
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        return hub.pool.use(lambda conn: _call(conn, hub, act, first, after, deadline))

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


Item = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


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
        self._calls: SimpleQueue[Item | None] = SimpleQueue()
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
            self._thread = threading.Thread(target=_serve, args=(self._calls,), name="queuekit-embedded", daemon=True)
            self._thread.start()
        await self._cross(lambda: hub.pool.prepare(self.timeout))

    async def run(
        self, act: Act[R], *, first: Act[R | None] | None = None, after: Callable[[], None] | None = None
    ) -> R:
        """What `first` finds on a snapshot if it finds something, else `act` in a transaction; then `after`."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        return await self._cross(lambda: hub.pool.use(lambda conn: _call(conn, hub, act, first, after, deadline)))

    async def read(self, act: Act[R]) -> R:
        """`act` on a snapshot."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        return await self._cross(lambda: hub.pool.use(lambda conn: look(conn, hub, act, deadline)))

    async def _cross(self, call: Callable[[], R]) -> R:
        """Let the thread do it. A task cancelled meanwhile leaves a call that is done or not, as a lost reply would."""
        if self._thread is None:
            await self.open()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        timer = loop.call_later(self.timeout + SPARE, _late, answer, self.hub)
        self._calls.put((call, answer, loop))
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


def _nothing() -> None:
    return


def _call(conn: sqlite3.Connection, hub: Hub, act: Act[R], first: Act[R | None] | None,
          after: Callable[[], None] | None, deadline: float) -> R:  # fmt: skip
    found = None if first is None else look(conn, hub, first, deadline)
    if found is not None:
        return found
    answer = transact(conn, hub, act, deadline)
    if after is not None:
        after()
    return answer


def _serve(calls: SimpleQueue[Item | None]) -> None:
    """The thread of an asynchronous port. It keeps nothing of a call that is done."""
    while (item := calls.get()) is not None:
        _do(*item)
        del item


def _do(call: Callable[[], Any], answer: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
    if answer.done():  # the caller is gone: as if it had never asked
        return
    result: Any = None
    failed: BaseException | None = None
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  it is raised where the call was made
        failed = error
    try:
        loop.call_soon_threadsafe(_settle, answer, result, failed)
    except RuntimeError:  # the loop that asked has closed
        return


def _settle(answer: asyncio.Future[Any], result: object, failed: BaseException | None) -> None:
    if answer.done():
        return
    if failed is not None:
        answer.set_exception(failed)
    else:
        answer.set_result(result)


def _late(answer: asyncio.Future[Any], hub: Hub) -> None:
    if not answer.done():
        answer.set_exception(StoreUnavailable(f"{hub.path}: the disk did not answer in time", outcome="unknown"))
