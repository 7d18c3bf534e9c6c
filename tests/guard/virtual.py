"""An event loop whose time stands still while anything is to do, and jumps to the next timer when nothing is.

A minute of an idle worker takes a moment; what it did in that minute can be counted. Threads keep real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

_THREADS = 0.001  # real seconds in which another thread may still ring before time jumps


class _Jumping(selectors.BaseSelector):
    """A selector that lets its loop's time pass instead of waiting."""

    def __init__(self) -> None:
        self.real = selectors.DefaultSelector()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self.real.select(timeout)
        found = self.real.select(_THREADS)
        if not found:
            self.passed += timeout
        return found

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.real.modify(fileobj, events, data)

    def close(self) -> None:
        self.real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self.real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is what has passed here, in seconds from 1000 on."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.passed
