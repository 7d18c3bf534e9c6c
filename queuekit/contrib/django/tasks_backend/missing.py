"""Which paths led to no task, and when to look again: what failed may be over, and not each job is to import anew.

Errors of modules are logged once for each text.
"""

from __future__ import annotations

import logging

from queuekit import clock

log = logging.getLogger("queuekit.contrib.django")
AGAIN = 5.0  # seconds behind the first failure; twice as many behind each further one
AGAIN_MAX = 300.0
_KEPT = 1024


class Missing:
    """Of one finder."""

    def __init__(self) -> None:
        self._again: dict[str, tuple[float, float]] = {}  # by path: not before that moment; how long it waits
        self._told: set[tuple[str, str]] = set()

    def waits(self, path: str) -> bool:
        """Whether it led to nothing a moment ago."""
        found = self._again.get(path)
        return found is not None and clock.monotonic() < found[0]

    def add(self, path: str) -> None:
        """It has just led to nothing."""
        _, last = self._again.get(path, (0.0, 0.0))
        if len(self._again) >= _KEPT:
            self._again.clear()
        wait = min(2 * last, AGAIN_MAX) or AGAIN
        self._again[path] = (clock.monotonic() + wait, wait)

    def clear(self) -> None:
        """Look for all again at once."""
        self._again.clear()

    def told(self, module: str, path: str, error: BaseException) -> None:
        """Log why a module cannot be imported."""
        text = (module, f"{type(error).__name__}: {error}")
        if text in self._told:
            return
        if len(self._told) >= _KEPT:
            self._told.clear()
        self._told.add(text)
        log.error("module %s of task %s cannot be imported (a later job tries again)", module, path, exc_info=error)
