"""What a process remembers of queues that moved: where each was found, for a short while. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from queuekit import clock

REMEMBERED = 5.0  # seconds until the own store is asked again
_KEPT = 4096  # queues; a queue each tenant must not grow a process for ever


@dataclass(frozen=True, slots=True)
class Road:
    """A store: its URL, what named it, and what the queue's own store calls it."""

    url: str
    origin: str
    name: str


class Roads:
    """Roads by queue. Empty, and so without a cost, as long as no queue has moved."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Road, float]] = {}
        self.told: set[tuple[str, str]] = set()  # (queue, name) a line was logged of
        self.links: tuple[float, tuple[Road, ...]] | None = None  # all there are, and until when that is believed

    def of(self, queue: str) -> Road | None:
        """Where a queue was found a moment ago."""
        found = self.known.get(queue)
        if found is None:
            return None
        road, until = found
        if clock.monotonic() < until:
            return road
        self.known.pop(queue, None)
        return None

    def keep(self, queue: str, road: Road) -> None:
        """Go there at once for the next few seconds."""
        if len(self.known) >= _KEPT:
            self.known.clear()
        self.known[queue] = (road, clock.monotonic() + REMEMBERED)

    def forget(self, queue: str) -> None:
        """It is not there any more."""
        self.known.pop(queue, None)

    def first_time(self, queue: str, name: str) -> bool:
        """Whether this was not told yet."""
        if (queue, name) in self.told:
            return False
        if len(self.told) >= _KEPT:
            self.told.clear()
        self.told.add((queue, name))
        return True
