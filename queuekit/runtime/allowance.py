"""What all consumers of a worker share: how many more jobs it may take, and that it holds one suspect at most."""

from __future__ import annotations

from collections.abc import Callable


class Allowance:
    """`spent` is called when the last job that was allowed has been taken."""

    def __init__(self, max_jobs: int | None = None, spent: Callable[[], None] = lambda: None) -> None:
        self.left = max_jobs
        self.suspects = 0
        self.wakes: list[Callable[[], None]] = []  # called when what one consumer asked for is free for others again
        self._asked = 0  # jobs that calls under way may bring
        self._spent = spent

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
