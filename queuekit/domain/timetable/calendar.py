"""Calendar steps ("every second month on the 15th at 09:00"): APScheduler's trigger, asked as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from queuekit.domain.timetable.cadence import LAST_MOMENT

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR: Final = LAST_MOMENT // 2  # the 41st century; APScheduler never ends where it runs out of years


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Steps from a date, at a time of day in a zone. Dates that do not exist are passed over, and so are times."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hour: int = 0
    minute: int = 0
    second: int = 0
    zone: str = "UTC"
    start_date: date | None = None
    end_date: date | None = None

    def after(self, moment: int, anchor: int) -> int | None:
        from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger

        zone = ZoneInfo(self.zone)
        start = self.start_date or _date(anchor, zone)
        if moment >= _FAR or (self.end_date is not None and start > self.end_date):
            return None
        trigger = CalendarIntervalTrigger(
            years=self.years, months=self.months, weeks=self.weeks, days=self.days,
            hour=self.hour, minute=self.minute, second=self.second,
            start_date=self._near(start, _date(moment, zone)), end_date=self.end_date, timezone=zone,
        )  # fmt: skip
        slot: datetime | None = None
        while (slot := trigger.get_next_fire_time(slot, _EPOCH)) is not None:
            found: int = (slot - _EPOCH) // timedelta(milliseconds=1)
            if found > moment:
                return found
        return None

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            key: value
            for key in ("years", "months", "weeks", "days", "hour", "minute", "second")
            if (value := getattr(self, key))
        }
        plain["timezone"] = self.zone
        for key, day in (("start_date", self.start_date), ("end_date", self.end_date)):
            if day is not None:
                plain[key] = day.isoformat()
        return {"calendar": plain}

    def _near(self, start: date, day: date) -> date:
        """A date of the walk from `start` that is a step or two before `day`, so that no walk begins years ago."""
        if day <= start:
            return start
        months, days = 12 * self.years + self.months, 7 * self.weeks + self.days
        if not months:
            return start + timedelta(((day - start).days // days - 1) * days if (day - start).days >= days else 0)
        if days:
            return start  # a walk of both leads to other days of the month: it cannot be cut short
        steps = (12 * (day.year - start.year) + day.month - start.month) // months - 1
        for step in range(steps, 0, -1):
            year, month = divmod(12 * start.year + start.month - 1 + step * months, 12)
            try:
                return start.replace(year=year, month=month + 1)
            except ValueError:
                continue  # that month has no such day
        return start


def _date(moment: int, zone: ZoneInfo) -> date:
    return (_EPOCH + timedelta(milliseconds=moment)).astimezone(zone).date()
