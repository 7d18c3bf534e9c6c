"""When lost leases may be taken: whether everybody was away, told from when somebody recovered last. Pure rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MISSED: Final = 3  # cadences without a call that make an absence
LEAST_GRACE: Final = 5000  # ms: a live worker has made its next call by then, however short the leases are


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a queue remembers of its recoveries. Times in ms of the store."""

    seen: int | None = None  # the last call
    pace: int | None = None  # the least cadence told since the last absence
    grace: int | None = None  # nothing is recovered before

    def called(self, now: int, every: int) -> Watch:
        """After a call by somebody who calls each `every`; `grace` is None in the answer where jobs may be taken."""
        pace = min(every, self.pace or every)
        length = max(2 * every, LEAST_GRACE)
        gap = 0 if self.seen is None else now - self.seen
        # A grace is not prolonged by callers that are late each time, or nothing would ever be recovered.
        if gap > MISSED * pace and (self.grace is None or gap > length):
            return Watch(seen=now, pace=every, grace=now + length)
        over = self.grace is None or now >= self.grace
        return replace(self, seen=now, pace=pace, grace=None if over else self.grace)
