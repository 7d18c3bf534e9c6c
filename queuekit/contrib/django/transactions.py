"""Which transactions of Django are open here, and what waits for their commit. Jobs are written by the kit.

Django keeps what waits, drops it when a transaction or its savepoint is rolled back, and calls it when all has
committed, in the order in which it came: exactly as `transaction.on_commit` does for everybody (docs/decisions/110).
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio.events import _get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeAlias

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from queuekit.contrib.django.connections import outside_the_loop
from queuekit.errors import Unsupported
from queuekit.producing import produce
from queuekit.producing.access import Access
from queuekit.producing.newjob import Later, Register

Chosen: TypeAlias = Callable[[], bool | tuple[str, ...]]
_now: ContextVar[bool] = ContextVar("queuekit_at_once", default=False)


@contextmanager
def at_once() -> Iterator[None]:
    """Inside the block jobs are written at once, whatever transaction is open: they stay when it is rolled back, and a
    worker may run them before it commits.
    """
    token = _now.set(True)
    try:
        yield
    finally:
        _now.reset(token)


class OpenTransactions:
    """Asked by a kit before each write. A job waits until every transaction that is open has committed."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen  # True: of all databases; False: none; or their aliases
        self._tails: weakref.WeakKeyDictionary[BaseDatabaseWrapper, _Place] = weakref.WeakKeyDictionary()

    def opened(self) -> Register | None:
        """Django's connections belong to a thread: those of this one."""
        if _now.get():
            return None
        found = self._open() if _get_running_loop() is None else self._of_this_thread()
        return partial(self._register, found) if found else None

    async def aopened(self) -> Register | None:
        """The same for a coroutine. Inside `async_to_sync` the transaction is that of the thread which waits."""
        if _now.get():
            return None
        found = await self._of_the_caller() if _called_from_a_thread() else self._of_this_thread()
        return partial(self._register, found) if found else None

    def commit_in_test(self, access: Access) -> None:
        """Write to these stores what waits for nothing but the transaction around a TestCase, which never commits."""
        for connection in list(self._tails):  # of any thread: an async test is not in that of its transaction
            if connection.in_atomic_block and _of_test(connection):
                for hook in list(connection.run_on_commit):
                    call: object = hook[1]
                    if isinstance(call, _Call) and call.of is self and call.wait.later.access is access:
                        call()

    def _open(self) -> list[BaseDatabaseWrapper]:
        chosen = self._chosen()
        if chosen is False:
            return []
        found = []
        for connection in connections.all(initialized_only=True):
            if chosen is not True and connection.alias not in chosen:
                continue
            if connection.in_atomic_block:
                found.append(connection)
            elif connection.connection is not None and not connection.autocommit:
                raise Unsupported(
                    f"database {connection.alias!r} has autocommit off: nobody tells when its transaction commits."
                    " Enqueue after your commit inside `with at_once():`, or leave it out of"
                    " settings.QUEUEKIT['ON_COMMIT']"
                )
        if len(found) > 1:  # of those around a TestCase, which has one for each database, Django runs one's hooks only
            found = [one for one in found if not _of_test(one)] or found[:1]
        return found

    def _of_this_thread(self) -> list[BaseDatabaseWrapper]:
        """Of plain code that runs a loop inside its transaction (`asyncio.run`), else of coroutines themselves, where
        somebody allowed them (DJANGO_ALLOW_ASYNC_UNSAFE).
        """
        return outside_the_loop(self._open) or self._open()

    async def _of_the_caller(self) -> list[BaseDatabaseWrapper]:
        try:
            return await sync_to_async(self._open)()
        except RuntimeError:  # that thread waits no more, and its transaction is over; or it is this one
            return self._of_this_thread()

    def _register(self, found: list[BaseDatabaseWrapper], later: Later) -> None:
        wait = _Wait(later, len(found))
        for connection in found:
            call, hooks = _Call(self, wait, connection), connection.run_on_commit
            # directly behind one of ours: nothing of anybody else's lies between, so both may be written at once
            call.adjoins = bool(hooks) and isinstance(hooks[-1][1], _Call) and hooks[-1][1].of is self
            tail = self._tails.get(connection)
            if tail is not None:
                tail.next = call.place
            self._tails[connection] = call.place
            connection.on_commit(call)


class _Wait:
    """The jobs of one call, and how many transactions they wait for."""

    __slots__ = ("later", "left")

    def __init__(self, later: Later, left: int) -> None:
        self.later = later
        self.left = left


class _Place:
    """Where a call stands among all of its connection. It outlives the call: one behind it is still found."""

    __slots__ = ("call", "next")

    def __init__(self, call: _Call) -> None:
        self.call = weakref.ref(call)
        self.next: _Place | None = None


class _Call:
    """What Django holds until the commit, and calls then."""

    __slots__ = ("__weakref__", "adjoins", "connection", "done", "of", "place", "wait")

    def __init__(self, of: OpenTransactions, wait: _Wait, connection: BaseDatabaseWrapper) -> None:
        self.of = of
        self.connection = None if _hooks_are_due(connection) else weakref.ref(connection)  # None: nothing to tell by
        self.wait = wait
        self.place = _Place(self)
        self.adjoins = False
        self.done = False

    def __call__(self) -> None:
        """Write these jobs, and those directly behind them, in as few calls as can be."""
        if self.done:
            return
        due: list[_Call] = [self]
        behind: list[_Call] = []
        together = True
        for call in self._following():
            together = together and call.adjoins and call.wait.later.access is self.wait.later.access
            (due if together else behind).append(call)
        ready = []
        for call in due:
            call.done = True
            call.wait.left -= 1
            if call.wait.left == 0:
                ready.append(call.wait.later)
        if ready:  # should this raise, Django calls nobody behind
            produce.commit(ready, [call.wait.later for call in behind])

    def __del__(self) -> None:
        """Django has let go of it: at a rollback, or because a hook of somebody else raised behind the commit."""
        connection = None if self.connection is None else self.connection()
        if not self.done and connection is not None and _hooks_are_due(connection):
            produce.dropped(self.wait.later)

    def _following(self) -> Iterator[_Call]:
        place = self.place.next
        while place is not None:
            call = place.call()
            if call is not None and not call.done:
                yield call
            place = place.next


def _hooks_are_due(connection: BaseDatabaseWrapper) -> bool:
    """Whether a commit came and not all of its hooks have run, be it that one of them raised. No rollback sets this."""
    return bool(getattr(connection, "run_commit_hooks_on_set_autocommit_on", False))


def _of_test(connection: BaseDatabaseWrapper) -> bool:
    """Whether all that is open is what Django's TestCase opened."""
    return all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _called_from_a_thread() -> bool:
    """Whether a thread waits in `async_to_sync` for what runs here."""
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return True
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
