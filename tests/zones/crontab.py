"""What crontab(5) and Debian's cron(8) say, as a walk over every minute of a clock that changes once.

cron(8): "Only jobs that run at a particular time (not specified as @hourly, nor with '*' in the hour or minute
specifier) are affected" by a change. If the time moved forward, those of the skipped time run soon after; if it moved
back, those of the repeated time are not run again. Wildcard jobs "are run based on the new time immediately".
Two things are ours: seconds, and that a change of three hours or more is a change like others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip
_NAMED = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}


@dataclass(frozen=True)
class Entry:
    """A line of a crontab: which wall times fit, and whether it is a particular time of the day."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    either: bool  # both kinds of day are restricted: either fits
    particular: bool

    @classmethod
    def read(cls, text: str) -> Entry:
        fields = _NAMED.get(text, text).lower().split()
        second = fields.pop(0) if len(fields) == 6 else "0"
        minute, hour, day, month, weekday = fields
        return cls(
            seconds=_numbers(second, 0, 59),
            minutes=_numbers(minute, 0, 59),
            hours=_numbers(hour, 0, 23),
            days=_numbers(day, 1, 31),
            months=_numbers(month, 1, 12, _MONTHS),
            weekdays=frozenset(number % 7 for number in _numbers(weekday, 0, 7, _DAYS)),
            either=day[0] != "*" and weekday[0] != "*",
            particular=minute[0] != "*" and hour[0] != "*",
        )

    def fits(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.second not in self.seconds:
            return False
        if wall.month not in self.months:
            return False
        day, weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return (day or weekday) if self.either else (day and weekday)


def _numbers(field: str, least: int, most: int, names: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        bounds, _, step = part.partition("/")
        if bounds == "*":
            low, high = least, most
        else:
            first, _, last = bounds.partition("-")
            low = (names or {}).get(first) if first in (names or {}) else int(first)  # type: ignore[assignment]
            high = low if not last else (names or {}).get(last, -1) if last in (names or {}) else int(last)
        found.update(range(low, high + 1, int(step or 1)))
    return frozenset(found)


@dataclass(frozen=True)
class Change:
    """A clock that shows `before` at the instant at which it is set to `after`."""

    before: datetime
    after: datetime

    def wall(self, elapsed: timedelta) -> datetime:
        return (self.before if elapsed < timedelta(0) else self.after) + elapsed


@dataclass(frozen=True)
class Tick:
    """An instant of the walk."""

    elapsed: timedelta  # since the change
    wall: datetime
    passed: tuple[
        datetime, ...
    ]  # wall times that are later than all before: one as a rule, an hour where it is skipped


def ticks(change: Change, reach: timedelta, step: timedelta) -> list[Tick]:
    """From `reach` before the change to `reach` behind it, every `step`."""
    found: list[Tick] = []
    latest = change.wall(-reach) - step
    for number in range(2 * (reach // step) + 1):
        wall = change.wall(number * step - reach)
        passed: list[datetime] = []
        while latest < wall:
            latest += step
            passed.append(latest)
        found.append(Tick(number * step - reach, wall, tuple(passed)))
    return found


def walk(entry: Entry, clock: Iterable[Tick]) -> list[timedelta]:
    """When the entry runs."""
    if entry.particular:
        return [tick.elapsed for tick in clock if any(map(entry.fits, tick.passed))]
    return [tick.elapsed for tick in clock if entry.fits(tick.wall)]
