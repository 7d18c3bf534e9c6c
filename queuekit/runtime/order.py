"""Which queue a consumer turns to next, and how much it asks: strict order, or shares by weight. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit.domain.job import BATCH_MAX
from queuekit.runtime.source import Source


class Order:
    """Chooses among the sources of one consumer. Weights by virtual time: who was served least for its weight asks."""

    def __init__(self, sources: Sequence[Source], *, strict: bool, size: int) -> None:
        self.sources = list(sources)
        self._strict = strict
        self._size = size
        self._time = 0.0  # how far the served weights have come

    def choose(self, now: float, free: int) -> tuple[Source, int] | None:
        """The source to exchange with and how many jobs to ask for; None where nothing is to do now."""
        if len(self.sources) == 1:
            source = self.sources[0]
            want = self._room(source, free)
            return (source, want) if source.unsettled or (want and source.wants(now)) else None
        asking = [source for source in self.sources if self._room(source, free) and source.wants(now)]
        unsettled = [source for source in self.sources if source.unsettled]
        first = None if not asking else asking[0] if self._strict else min(asking, key=self._clock)
        # Claims for one queue must not keep the ends of another waiting.
        overdue = next((source for source in unsettled if source.passed >= len(self.sources)), None)
        chosen = overdue or first or (unsettled[0] if unsettled else None)
        if chosen is None:
            return None
        for source in unsettled:
            source.passed += 1
        chosen.passed = 0
        want = self._room(chosen, free) if first is None or chosen is first else 0
        if want and not self._strict and len(asking) > 1:
            want = max(1, min(want, self._share(chosen, asking)))
        return chosen, want

    def next_look(self, free: int) -> float | None:
        """Monotonic time at which asking makes sense if nothing happens before; None: only an event can change that."""
        return min((source.next_look() for source in self.sources if self._room(source, free)), default=None)

    def served(self, source: Source, claims: int) -> None:
        """Count what a source was given."""
        if claims and len(self.sources) > 1:
            # Start-time fair queueing: a queue that slept does not save up turns, it starts where the others are.
            self._time = self._clock(source)
            source.served = self._time + claims / source.weight

    def _clock(self, source: Source) -> float:
        return max(source.served, self._time)

    def _room(self, source: Source, free: int) -> int:
        return 0 if source.closing else max(0, min(free, source.cap - source.held, BATCH_MAX))

    def _share(self, source: Source, asking: list[Source]) -> int:
        return round(self._size * source.weight / sum(other.weight for other in asking))
