"""Database connections around jobs, as Django has them around requests: stale ones are closed, before and after."""

from __future__ import annotations

import logging
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections, reset_queries
from django.db.backends.signals import connection_created

from queuekit import JobContext

T = TypeVar("T")
log = logging.getLogger("queuekit.contrib.django")
_made: list[bool] = []  # not empty: this process has opened a connection


@contextmanager
def fresh() -> Iterator[None]:
    """Close what is stale in this thread, begin a new list of queries, and close again behind the block."""
    _begin()
    try:
        yield
    finally:
        close_old_connections()


async def around(ctx: JobContext, run: Callable[[], Awaitable[object]], /) -> object:
    """The middleware. A plain function's connections are its thread's; a coroutine's are those of the one thread in
    which `sync_to_async`, and with it all of Django's async ORM, works.
    """
    if ctx.slot == "thread":
        outside_the_loop(_begin)
        try:
            return await run()
        finally:
            outside_the_loop(partial(_end, ctx.job.ref))
    if _made:
        await sync_to_async(_begin)()
    try:
        return await run()
    finally:
        if _made:  # two hops to another thread: not for handlers of a process that asks no database
            await sync_to_async(close_old_connections)()


def _begin() -> None:
    reset_queries()
    close_old_connections()


def _end(ref: str) -> None:
    """Close what is stale, and what the handler left in a transaction: every later job of its thread would be in it."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            log.error("job %s left a transaction of database %r open: it is rolled back", ref, connection.alias)
            connection.close()
            del connections[connection.alias]  # Django never opens it again: the next use makes another one
    close_old_connections()


def outside_the_loop(call: Callable[[], T]) -> T:
    """Call it as if no event loop ran in this thread: Django closes nothing beside one, and hides from coroutines the
    connections that plain code of the thread has.
    """
    running = _get_running_loop()
    _set_running_loop(None)
    try:
        return call()
    finally:
        _set_running_loop(running)


def _on_created(**_: Any) -> None:
    if not _made:
        _made.append(True)


connection_created.connect(_on_created, dispatch_uid="queuekit")
