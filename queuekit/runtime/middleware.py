"""What runs around a handler, in its executor. First registered, outermost; a middleware is always async."""

from __future__ import annotations

import asyncio
import threading
from asyncio.events import _set_running_loop as set_running_loop
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from queuekit.context import JobContext

Around: TypeAlias = Callable[[JobContext, Callable[[], Awaitable[object]]], Awaitable[object]]
_local = threading.local()


def around(middlewares: Sequence[Around], ctx: JobContext, run: Callable[[], Awaitable[object]]) -> Awaitable[object]:
    """The handler's awaitable inside all middlewares."""
    for middleware in reversed(middlewares):
        run = partial(middleware, ctx, run)
    return run()


def in_thread(middlewares: Sequence[Around], ctx: JobContext, call: Callable[[], object]) -> object:
    """Run a plain handler inside middlewares, all in this thread, on a private event loop.

    The handler itself sees no running loop: inside it `asyncio.run` and blocking store calls are as fine as without
    middlewares.
    """
    loop = getattr(_local, "loop", None)
    if loop is None or loop.is_closed():
        loop = _local.loop = asyncio.new_event_loop()
        _local.keeper = _LoopKeeper(loop)

    async def inner() -> object:
        running = asyncio.get_running_loop()
        set_running_loop(None)
        try:
            return call()
        finally:
            set_running_loop(running)

    async def whole() -> object:
        return await around(middlewares, ctx, inner)

    return loop.run_until_complete(whole())


class _LoopKeeper:
    """Closes a thread's loop when the thread, and with it this, goes away."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def __del__(self) -> None:
        self._loop.close()
