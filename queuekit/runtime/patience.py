"""Waiting for a store at a start: asked again while it is away, for a bounded time, and until somebody wants a stop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from queuekit import clock
from queuekit.domain.redact import redact
from queuekit.errors import StoreUnavailable

log = logging.getLogger("queuekit.runtime.worker")
R = TypeVar("R")
_FIRST, _LONGEST = 0.1, 2.0  # seconds between two tries


class Stopped(Exception):
    """Somebody wanted the worker to stop before it began."""


class Patience:
    """Asks for at most `wait` ms; raises Stopped once `stopping` is set."""

    def __init__(self, wait: int, stopping: asyncio.Event) -> None:
        self._wait = wait
        self._stopping = stopping

    async def ask(self, call: Callable[[], Awaitable[R]]) -> R:
        """The answer of `call`. Raises what it raises; StoreUnavailable when the time is over."""
        deadline, pause, told = clock.monotonic() + self._wait / 1000, _FIRST, False
        while True:
            try:
                return await call()
            except StoreUnavailable as error:
                if clock.monotonic() + pause >= deadline:
                    raise
                if not told:
                    told = True
                    log.warning("waiting up to %.0f s for the store: %s", self._wait / 1000, redact(str(error)))
            await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 2, _LONGEST)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
            raise Stopped
