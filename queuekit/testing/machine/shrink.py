"""Fewer steps that still show a difference: a failed run is cut down before it is printed.

Hypothesis could do it, by drawing anew for minutes on a real server; leaving out steps of the plain list is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from queuekit import clock
from queuekit.testing.machine.duel import Difference, Duel, replay
from queuekit.testing.machine.steps import Step


def shrunk(begin: Callable[[], Duel], steps: Sequence[Step], *, seconds: float) -> Difference | None:
    """The difference that the shortest list of steps found in time shows; None if it does not show again."""
    until = clock.monotonic() + seconds
    found = _shows(begin, steps)
    if found is None:
        return None
    kept, size = list(steps), len(steps) // 2
    while size and clock.monotonic() < until:
        at = 0
        while at < len(kept) and clock.monotonic() < until:
            fewer = kept[:at] + kept[at + size :]
            shown = _shows(begin, fewer)
            if shown is None:
                at += size
            else:
                kept, found = fewer, shown
        size //= 2
    return found


def _shows(begin: Callable[[], Duel], steps: Sequence[Step]) -> Difference | None:
    try:
        replay(begin(), steps)
    except Difference as difference:
        return difference
    return None
