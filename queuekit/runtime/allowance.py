"""What all consumers of a worker share: how many more jobs it may take, and that it holds one suspect at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from queuekit import clock

if TYPE_CHECKING:
    from queuekit.runtime.source import Source

_PATIENCE: Final = 0.5  # seconds


class Allowance:
    """`spent` is called when the last job that was allowed has been taken."""

    def __init__(self, max_jobs: int | None = None, spent: Callable[[], None] = lambda: None) -> None:
        self.left = max_jobs
        self.suspects = 0  # in hand
        self.wakes: list[Callable[[], None]] = []  # called when what one consumer asked for is free for others again
        self._asked = 0  # jobs that calls under way may bring
        self._spent = spent
        self._by: Source | None = None  # whose call under way may bring a suspect
        self._last: Source | None = None  # whose call was the last that might
        self._waiting: dict[Source, Callable[[], None]] = {}  # were not allowed to, and how to wake them
        self._patience = 0.0  # monotonic: until then the others go before the last

    def may_take_suspect(self, source: Source, wake: Callable[[], None]) -> bool:
        """Whether the call that begins may bring one. `wake` is called when one that may not should ask again."""
        if self.suspects or self._by is not None or self._before(source):
            self._waiting[source] = wake
            return False
        self._waiting.pop(source, None)
        self._by = self._last = source
        return True

    def suspect_answered(self, source: Source, brought: int) -> None:
        """That call is over and brought so many."""
        self.suspects += brought
        if self._by is source:
            self._by = None
            self._offer()

    def suspect_ended(self) -> None:
        """One in hand has ended."""
        self.suspects -= 1
        self._offer()

    def _before(self, source: Source) -> bool:
        """Whether others may ask before this one: it was the last, and they could not."""
        if not self._waiting or source is not self._last or clock.monotonic() >= self._patience:
            return False
        return any(other is not source for other in self._waiting)

    def _offer(self) -> None:
        """Another suspect may be asked for: those that could not have a moment to do so before the last does again."""
        if self._waiting and not self.suspects:
            self._patience = clock.monotonic() + _PATIENCE
            for source, wake in tuple(self._waiting.items()):
                source.wake()
                wake()

    def bound(self, free: int) -> int:
        """How many of these free slots may be filled."""
        return free if self.left is None else min(free, self.left - self._asked)

    def asked(self, want: int) -> None:
        """A call for so many jobs begins: no other consumer may ask for these."""
        self._asked += want

    def answered(self, want: int) -> None:
        """That call is over."""
        self._asked -= want
        if self.left is not None and want and self.left > 0:
            for wake in self.wakes:
                wake()

    def taken(self, claims: int) -> None:
        """Count jobs that were claimed."""
        if self.left is not None:
            self.left -= claims
            if self.left <= 0:
                self._spent()
