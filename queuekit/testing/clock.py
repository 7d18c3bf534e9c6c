"""A clock that only moves when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from queuekit import clock
from queuekit.domain.duration import Duration, parse_duration


class VirtualClock:
    """The store's time in a test. It starts at this moment, or at `start` (aware), and stands still until `travel`."""

    def __init__(self, start: datetime | None = None) -> None:
        self._ms = clock.now_ms() if start is None else clock.to_ms(start)
        self.leaving: list[Callable[[], None]] = []  # called before time moves

    def ms(self) -> int:
        """Milliseconds since 1970."""
        return self._ms

    def now(self) -> datetime:
        """This moment as an aware UTC datetime: what tests count `run_at` from."""
        return clock.to_datetime(self._ms)

    def travel(
        self,
        by: Duration | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
    ) -> datetime:
        """Jump on by a duration, by days … seconds, or to a moment; the new now. Raises ValueError for going back.

        Nobody worked meanwhile: what came due on the way is late, and a schedule's `missed` says what becomes of its
        slots. To live through the time instead: `TestKit.run_for`.
        """
        target = self.ahead(by, days=days, hours=hours, minutes=minutes, seconds=seconds, to=to)
        for leave in self.leaving:
            leave()
        self._ms = target
        return self.now()

    def ahead(
        self,
        by: Duration | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
    ) -> int:
        """Where `travel` would get to, in ms. Raises ValueError for a moment that has passed."""
        if to is not None:
            target = clock.to_ms(to)
        else:
            given = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            target = self._ms + parse_duration(given) + (0 if by is None else parse_duration(by))
        if target < self._ms:
            raise ValueError(f"a store's clock does not go back: it is {self.now()}, not {to}")
        return target
