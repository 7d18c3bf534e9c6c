"""Cron expressions: cronsim reads them and walks the wall clock; what a changed clock means is decided here.

A rule whose minute or hour begins with "*" goes by real time; any other one is a time of day (decision 137).
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from queuekit.domain.timetable.cadence import LAST_MOMENT

if TYPE_CHECKING:
    from cronsim import CronSim

NAMED: Final = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_ONE: Final = re.compile(r"(?<![\w-])(\w+)-\1/\d+", re.IGNORECASE)  # cronsim takes "5-5/2" for "5/2", which goes on
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks and UTC are both kept naive here
_MS = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_TURN = 26 * 3_600_000  # no clock is ever set back further than this


@lru_cache(4096)
def walker(expression: str) -> CronSim:
    """cronsim's reading of it; raises CronSimError."""
    from cronsim import CronSim

    return CronSim(_ONE.sub(r"\1", NAMED.get(expression.lower(), expression)), _EPOCH)


@dataclass(frozen=True, slots=True)
class Cron:
    """The slots of a cron expression in a time zone."""

    expression: str
    zone: str

    def after(self, moment: int, anchor: int) -> int | None:
        moment -= moment % 1000  # slots are whole seconds
        sim = walker(self.expression)
        by_clock = sim.parts[1].startswith("*") or sim.parts[2].startswith("*")
        slot = self._by_real_time(sim, moment) if by_clock else self._by_time_of_day(sim, moment)
        return slot if slot is not None and slot < LAST_MOMENT else None

    def to_json(self) -> dict[str, Any]:
        return {"cron": self.expression}

    def _by_time_of_day(self, sim: CronSim, moment: int) -> int | None:
        """Each wall time once: the first of two, and at once after a gap that holds it."""
        zone = ZoneInfo(self.zone)
        wall = _wall(moment, zone)
        while (found := _next(sim, wall)) is not None:
            slot = _first_instant(found, zone)
            if slot > moment:
                return slot
            wall = found  # now is the second pass of an hour, and this one was in the first
        return None

    def _by_real_time(self, sim: CronSim, moment: int) -> int | None:
        """Each moment whose wall time fits: both of two, none in a gap."""
        zone = ZoneInfo(self.zone)
        slot: int | None = None
        wall = _wall(moment, zone)
        while (found := _next(sim, wall)) is not None:
            slot = _instant_after(found, zone, moment)
            if slot is not None:
                break
            wall = found
        back = _set_back(moment, zone)  # a clock that is set back shows walls again that were passed already
        if back is not None and (slot is None or back < slot):
            again = _next(sim, _wall(back, zone) - _SECOND)
            if again is not None and (other := _instant_after(again, zone, back - 1)) is not None:
                slot = other if slot is None else min(slot, other)
        return slot


def _next(sim: CronSim, wall: datetime) -> datetime | None:
    """The first wall time strictly after `wall` that fits; None: none in 50 years."""
    walk = copy(sim)
    walk.dt = wall
    try:
        return next(walk)
    except (StopIteration, OverflowError, ValueError):
        return None


def _offset(moment: int, zone: ZoneInfo) -> int:
    utc = (_EPOCH + moment * _MS).replace(tzinfo=zone)
    return (zone.fromutc(utc).replace(tzinfo=None) - utc.replace(tzinfo=None)) // _MS


def _wall(moment: int, zone: ZoneInfo) -> datetime:
    return zone.fromutc((_EPOCH + moment * _MS).replace(tzinfo=zone)).replace(tzinfo=None, fold=0)


def _instants(wall: datetime, zone: ZoneInfo) -> tuple[int, int]:
    """By the offset before, and by the offset after a change of the clock; the same where there is none."""
    plain = (wall - _EPOCH) // _MS
    aware = wall.replace(tzinfo=zone)
    early, late = aware.utcoffset(), aware.replace(fold=1).utcoffset()
    assert early is not None  # a ZoneInfo has one for every moment
    assert late is not None
    return plain - early // _MS, plain - late // _MS


def _first_instant(wall: datetime, zone: ZoneInfo) -> int:
    first, second = _instants(wall, zone)
    if first <= second:
        return first
    return _change(second, first, zone)  # in a gap: `second` is before it and `first` behind it


def _instant_after(wall: datetime, zone: ZoneInfo, moment: int) -> int | None:
    """The first instant after `moment` that shows this wall time; None: in a gap, or passed."""
    first, second = _instants(wall, zone)
    if first > second:
        return None
    return first if first > moment else second if second > moment else None


def _set_back(moment: int, zone: ZoneInfo) -> int | None:
    """The instant within the next day at which the clock is set back."""
    later = moment + _TURN
    if _offset(later, zone) >= _offset(moment, zone):
        return None
    return _change(moment, later, zone)


def _change(low: int, high: int, zone: ZoneInfo) -> int:
    """The first instant of the new offset, between two that differ."""
    before = _offset(low, zone)
    while high - low > 1000:
        middle = (low + high) // 2000 * 1000
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high
