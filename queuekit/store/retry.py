"""The only retry: repeats one call with the same op after a lost or refused answer, until its time is up."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from queuekit.errors import StoreUnavailable

R = TypeVar("R")
FIRST_PAUSE = 0.02  # seconds; doubles up to LONGEST_PAUSE, each spread over [half, whole]
LONGEST_PAUSE = 2.0
ANSWERED = 1.5  # times the timeout of a call; a try on a store that is away ends with its first call


class Waiter(Protocol):
    async def sleep(self, seconds: float) -> None: ...
    def monotonic(self) -> float: ...


async def repeat(waiter: Waiter, call: Callable[[], Awaitable[R]], *, within: float) -> R:
    """The answer of `call`, asked again while it raises StoreUnavailable and less than `within` seconds passed.

    `call` must make the same request each time (same op, same arguments). Raises the last StoreUnavailable; its
    outcome is "unknown" if any try was: an earlier one may have been applied. A try that lasted much longer than the
    store may be silent was answered meanwhile, as one is that waits for a job's end: the time begins anew behind it.
    """
    deadline, pause, unknown = waiter.monotonic() + within, FIRST_PAUSE, False
    while True:
        began = waiter.monotonic()
        try:
            return await call()
        except StoreUnavailable as error:
            unknown = unknown or error.outcome == "unknown"
            wait = pause * random.uniform(0.5, 1.0)  # noqa: S311  spreading retries needs no secrecy
            if waiter.monotonic() - began > within * ANSWERED:
                deadline, pause = waiter.monotonic() + within, FIRST_PAUSE
            if waiter.monotonic() + wait >= deadline:
                if unknown:
                    error.outcome = "unknown"
                raise
        await waiter.sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE)
