"""Hooks: functions of the user that are told what happened in this process. A failing hook is logged, no more."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from queuekit.domain.events import JOB_EVENTS, JobEvent, JobFact
from queuekit.errors import InvalidOption

Hook: TypeAlias = Callable[[JobFact], Awaitable[None] | None]
_log = logging.getLogger("queuekit.producing.hooks")
_ANYTHING = (Exception, SystemExit, asyncio.CancelledError)  # of user code, in the middle of a worker's own


class Hooks:
    """Who wants to be told of what."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._running: set[asyncio.Future[None]] = set()

    def add(self, event: str, fn: Hook) -> None:
        """Tell `fn` of `event` from now on. Raises InvalidOption for an event there is not."""
        if event not in JOB_EVENTS:
            raise InvalidOption(f"no event {event!r}; there are: {', '.join(JOB_EVENTS)}")
        if not callable(fn):
            raise InvalidOption(f"hook {fn!r} of {event!r} cannot be called")
        self._hooks.setdefault(event, []).append(fn)

    def remove(self, event: str, fn: Hook) -> None:
        """Tell `fn` of `event` no more; also while it is being told."""
        left = [one for one in self._hooks.get(event, ()) if one is not fn]
        if left:
            self._hooks[event] = left
        else:
            self._hooks.pop(event, None)

    def wants(self, event: JobEvent) -> bool:
        """Whether anybody wants to be told; cheap."""
        return event in self._hooks

    def emit(self, event: JobEvent, fact: JobFact) -> None:
        """Tell everybody who wants it. Coroutines run on the loop that runs here, else to their end. Never raises."""
        for fn in self._hooks.get(event, ()):
            try:
                told = fn(fact)
                if inspect.isawaitable(told):
                    self._await(fn, told)
            except _ANYTHING:
                _log.exception("hook %s of %r failed", _name(fn), event)

    async def settle(self) -> None:
        """Wait for the coroutine hooks that run on this loop."""
        while mine := [one for one in self._running if one.get_loop() is asyncio.get_running_loop()]:
            await asyncio.wait(mine)

    def _await(self, fn: Hook, told: Awaitable[None]) -> None:
        guarded = _guarded(fn, told)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(guarded)
            return
        task = loop.create_task(guarded)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _guarded(fn: Hook, told: Awaitable[None]) -> None:
    try:
        await told
    except (Exception, SystemExit):  # noqa: BLE001  user code may raise anything
        _log.exception("hook %s failed", _name(fn))


def _name(fn: object) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
