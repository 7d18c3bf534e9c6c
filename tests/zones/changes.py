"""The moments at which clocks are changed, found by looking at the offset of every day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.zones.crontab import Change

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400


@dataclass(frozen=True)
class Turning:
    """A zone, the second at which its clock changes, and what it shows."""

    zone: str
    at: int  # s UTC
    change: Change

    @property
    def shape(self) -> tuple[timedelta, datetime]:
        """By how much, and at what time of the day."""
        return self.change.after - self.change.before, datetime.combine(_EPOCH, self.change.before.time())


def turnings(zones: Iterable[str], first: int = 2020, last: int = 2035) -> Iterator[Turning]:
    """Every change in these years, both included."""
    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (first, last + 1))
    for name in zones:
        zone = ZoneInfo(name)
        for day in range(begin, end, _DAY):
            low, high = day, day + _DAY
            before, after = _offset(low, zone), _offset(high, zone)
            if before == after:
                continue
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
            utc = datetime(1970, 1, 1) + timedelta(seconds=high)  # walls are naive
            yield Turning(name, high, Change(utc + before, utc + after))


def _offset(moment: int, zone: ZoneInfo) -> timedelta:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    assert offset is not None
    return offset
