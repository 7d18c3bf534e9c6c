"""Places in a queue without a sequence document: the store's time in microseconds, never the same twice.

A hot sequence document would cap enqueueing at 1,400/s (seam.md 5). Instead a process learns how far the server's
clock is from its own monotonic one, from answers it gets anyway, and numbers by that; all stores of a process that
meet one server share the numbers, so that FIFO is exact among them. No I/O here.
"""

from __future__ import annotations

import os
import threading
from typing import Final

_MS: Final = 1000  # microseconds
_shared: dict[str, Ranks] = {}
_shared_lock = [threading.Lock()]  # a new one after a fork, and new ranks: another thread may hold theirs


class Ranks:
    """Gives places at the back (growing) and at the front (below all, for `lifo`). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset: float | None = None  # us from the monotonic clock to the server's, never ahead of it
        self._back = 0
        self._front = 0

    def observe(self, server_ms: int, sent: float, received: float) -> None:
        """Learn from an answer that carries the server's time; `sent` and `received` are monotonic seconds.

        The server read its clock somewhere in between and cut it to whole milliseconds. The highest lower bound is
        kept, so that an estimate is never ahead of the server, until an upper bound says that a clock was set.
        """
        least, most = server_ms * _MS - received * 1e6, (server_ms + 1) * _MS - sent * 1e6
        with self._lock:
            if self._offset is None or self._offset < least or self._offset > most:
                self._offset = least

    def now_us(self, monotonic: float) -> int | None:
        """The server's time as far as it is known, None before the first answer."""
        offset = self._offset
        return None if offset is None else int(monotonic * 1e6 + offset)

    def back(self, count: int, monotonic: float) -> int:
        """The first of `count` places behind all that were given here."""
        with self._lock:
            first = max(self._back + 1, int(monotonic * 1e6 + (self._offset or 0.0)))
            self._back = first + count - 1
            return first

    def cut(self, count: int, monotonic: float) -> int:
        """A place that parts those given up to now, and for `count` us after, from all that are given here later."""
        with self._lock:
            self._back = max(self._back + 1, int(monotonic * 1e6 + (self._offset or 0.0)) + count)
            return self._back

    def front(self, count: int, monotonic: float) -> int:
        """The first of `count` places before all that were given here, each before the last: the mirror of `back`."""
        with self._lock:
            first = min(self._front - 1, -int(monotonic * 1e6 + (self._offset or 0.0)))
            self._front = first - count + 1
            return first


def shared(store_id: str) -> Ranks:
    """The ranks of one store in this process."""
    with _shared_lock[0]:
        return _shared.setdefault(store_id, Ranks())


def _in_child() -> None:
    _shared_lock[0] = threading.Lock()
    _shared.clear()


os.register_at_fork(after_in_child=_in_child)
