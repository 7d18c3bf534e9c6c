"""What all consumers of a worker share: how many more jobs it may take, and that it holds one suspect at most."""

from __future__ import annotations

from collections.abc import Callable


class Allowance:
    """`spent` is called when the last job that was allowed has been taken."""

    def __init__(self, max_jobs: int | None = None, spent: Callable[[], None] = lambda: None) -> None:
        self.left = max_jobs
        self.suspects = 0
        self.taken_in_all = 0
        self._spent = spent

    def bound(self, free: int) -> int:
        """How many of these free slots may be filled."""
        return free if self.left is None else min(free, self.left)

    def taken(self, claims: int) -> None:
        """Count jobs that were claimed."""
        self.taken_in_all += claims
        if self.left is not None:
            self.left -= claims
            if self.left <= 0:
                self._spent()
