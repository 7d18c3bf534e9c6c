"""The frame of agents that do one thing every so often: at once, then with jitter; they never die of an error."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

from queuekit.domain.redact import redact
from queuekit.errors import StoreUnavailable

_CANCELS, _BETWEEN = 50, 0.1  # seconds between


def raise_if_cancelled() -> None:
    """Be cancelled after all. A driver may swallow a cancel that comes beside a time-out of its own (redis-py looks
    with `timeout(0)` whether a connection can be read), and a task that goes on then never ends."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they end; more than once, for the same reason."""
    pending = {task for task in tasks if not task.done()}
    for _ in range(_CANCELS):
        for task in pending:
            task.cancel()
        if not pending:
            return
        _, pending = await asyncio.wait(pending, timeout=_BETWEEN)


class Agent(ABC):
    """Calls `act` every `every` seconds, spread over [1-jitter, 1+jitter]."""

    name: str

    def __init__(self, every: float, *, jitter: float = 0.1, first: float = 0.0) -> None:
        self._every = every
        self._jitter = jitter
        self._first = first
        self._failing = False
        self._log = logging.getLogger(f"queuekit.runtime.{self.name}")

    @abstractmethod
    async def act(self) -> None:
        """One turn."""

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(self._first)
        while True:
            try:
                await self.act()
            except StoreUnavailable as error:
                if not self._failing:  # the consumer says when the store is back
                    self._log.info("store unavailable, trying again: %s", redact(str(error)))
                self._failing = True
            except Exception:  # noqa: BLE001  the next turn may succeed
                self._log.exception("%s failed, trying again", self.name)
            else:
                self._failing = False
            raise_if_cancelled()
            await asyncio.sleep(self._every * random.uniform(1 - self._jitter, 1 + self._jitter))  # noqa: S311
