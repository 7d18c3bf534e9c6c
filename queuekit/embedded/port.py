"""The driver port over sqlite3, blocking and asynchronous. Nothing here knows a table; it bounds, commits, translates.

The blocking one lends a connection to each call; the asynchronous one has one thread that works for its loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from queuekit import clock
from queuekit.embedded import files, replies
from queuekit.embedded.hub import Hub, attach, detach
from queuekit.errors import StoreUnavailable

R = TypeVar("R")
Act = Callable[[sqlite3.Connection], R]
SPARE: Final = 1.0  # seconds beyond its timeout that an asynchronous call waits for a disk that does not answer


class Bell(Protocol):
    """Something to wait on that any thread may ring."""

    def ring(self) -> None: ...


class Place(Protocol):
    """What both ports need of where the data are."""

    hub: Hub
    timeout: float


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
    """Connections lent to whichever thread calls; as many as there are calls at once."""

    blocking = True

    def __init__(self, key: object, path: Path | None, *, lasting: bool, timeout: float) -> None:
        self._key, self._path, self._lasting, self.timeout = key, path, lasting, timeout
        self._free: list[sqlite3.Connection] = []
        self._hub: Hub | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def hub(self) -> Hub:
        """This process's hub of the file. After a fork everything of the parent is left as it is, never closed."""
        if self._pid != os.getpid():
            for conn in self._free:
                abandon(conn)
            self._free, self._hub, self._pid, self._lock = [], None, os.getpid(), threading.Lock()
        with self._lock:
            if self._hub is None:
                self._hub = attach(self._key, self._path, lasting=self._lasting)
                if self._hub.private:
                    files.prepare(self._hub.path, timeout=self.timeout, durable=False)
            return self._hub

    async def open(self) -> None:
        hub = self.hub
        files.prepare(hub.path, timeout=self.timeout, durable=not hub.private)

    async def run(
        self, act: Act[R], *, first: Act[R | None] | None = None, after: Callable[[], None] | None = None
    ) -> R:
        """What `first` finds on a snapshot if it finds something, else `act` in a transaction; then `after`."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        conn = self._borrow(hub)
        try:
            return _call(conn, hub, act, first, after, deadline)
        finally:
            self._free.append(conn)

    async def read(self, act: Act[R]) -> R:
        """`act` on a snapshot."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        conn = self._borrow(hub)
        try:
            return look(conn, hub, act, deadline)
        finally:
            self._free.append(conn)

    def _borrow(self, hub: Hub) -> sqlite3.Connection:
        try:
            return self._free.pop()
        except IndexError:
            return _connected(hub)

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
        if self._pid != os.getpid() or self._hub is None:
            return
        with self._lock:
            hub, self._hub = self._hub, None
            free, self._free = self._free, []
        for conn in free:
            conn.close()
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


Call = Callable[["Hand"], Any]
Item = tuple[Call, "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Hand:
    """The one connection of a working thread, made when it is first needed."""

    __slots__ = ("_made", "hub")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._made: sqlite3.Connection | None = None

    @property
    def conn(self) -> sqlite3.Connection:
        if self._made is None:
            self._made = _connected(self.hub)
        return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


class AsyncPort:
    """One thread with one connection works for the loop, in the order of the calls."""

    blocking = False

    def __init__(self, key: object, path: Path | None, *, lasting: bool, timeout: float) -> None:
        self._key, self._path, self._lasting, self.timeout = key, path, lasting, timeout
        self._hub: Hub | None = None
        self._calls: SimpleQueue[Item | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._end = weakref.finalize(self, self._calls.put, None)

    @property
    def hub(self) -> Hub:
        """This process's hub of the file. After a fork the parent's is left alone; its thread is not here."""
        if self._pid != os.getpid():
            self._hub, self._thread, self._calls, self._pid = None, None, SimpleQueue(), os.getpid()
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
        await self._cross(lambda _: files.prepare(hub.path, timeout=self.timeout, durable=not hub.private))

    async def run(
        self, act: Act[R], *, first: Act[R | None] | None = None, after: Callable[[], None] | None = None
    ) -> R:
        """What `first` finds on a snapshot if it finds something, else `act` in a transaction; then `after`."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        return await self._cross(lambda hand: _call(hand.conn, hub, act, first, after, deadline))

    async def read(self, act: Act[R]) -> R:
        """`act` on a snapshot."""
        hub, deadline = self.hub, clock.monotonic() + self.timeout
        return await self._cross(lambda hand: look(hand.conn, hub, act, deadline))

    async def _cross(self, call: Callable[[Hand], R]) -> R:
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
        thread, self._thread = self._thread, None
        if thread is not None:
            self._end()
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            self._calls = SimpleQueue()
            self._end = weakref.finalize(self, self._calls.put, None)
        if self._hub is not None:
            hub, self._hub = self._hub, None
            detach(self._key, hub)


def _call(conn: sqlite3.Connection, hub: Hub, act: Act[R], first: Act[R | None] | None,
          after: Callable[[], None] | None, deadline: float) -> R:  # fmt: skip
    found = None if first is None else look(conn, hub, first, deadline)
    if found is not None:
        return found
    answer = transact(conn, hub, act, deadline)
    if after is not None:
        after()
    return answer


def _serve(hub: Hub, calls: SimpleQueue[Item | None]) -> None:
    """The thread of an asynchronous port."""
    hand = Hand(hub)
    while (item := calls.get()) is not None:
        call, answer, loop = item
        if answer.done():
            continue
        result: Any = None
        failed: BaseException | None = None
        try:
            result = call(hand)
        except BaseException as error:  # noqa: BLE001  it is raised where the call was made
            failed = error
        try:
            loop.call_soon_threadsafe(_settle, answer, result, failed)
        except RuntimeError:  # the loop that asked has closed
            continue
        del item, call, answer, loop, result, failed
    hand.close()


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


def _connected(hub: Hub) -> sqlite3.Connection:
    try:
        return files.connect(hub.path, durable=not hub.private)
    except sqlite3.Error as error:
        raise replies.translate(error, hub.path) from error


def abandon(conn: sqlite3.Connection) -> None:
    """Keep a parent's connection from ever being closed here: closing would act on locks and the log of the parent."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(conn))
