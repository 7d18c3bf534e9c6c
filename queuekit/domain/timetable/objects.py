"""APScheduler's trigger objects as the plain mappings that are stored. What a worker cannot rebuild is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

from queuekit.errors import InvalidOption

if TYPE_CHECKING:
    from apscheduler.triggers.interval import IntervalTrigger

_FRESH: Final = timedelta(minutes=1)  # a trigger made so long ago was made for this rule


def as_mapping(value: Any, where: str, zone: str | None) -> Mapping[str, Any]:
    """{"interval": {…}}, {"calendar": {…}}, {"date": {…}}, {"and": […]} or {"or": […]}; `zone` if the rule names one.

    A start that APScheduler filled in by itself is left out: the schedule's anchor takes its place.
    """
    if isinstance(value, Mapping):
        return value
    if not type(value).__module__.startswith("apscheduler."):
        raise InvalidOption(f'{where}: trigger={value!r:.200} is no trigger: use {{"interval": {{"hours": 2}}}}')
    from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
    from apscheduler.triggers.combining import AndTrigger, BaseCombiningTrigger
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.date import DateTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if isinstance(value, CronTrigger):
        raise InvalidOption(
            f"{where}: trigger={value!r:.200}: APScheduler counts weekdays from Monday, crontab from Sunday: use "
            'cron="0 9 * * mon-fri", or {"cron": "…"} in a list of "and" or "or"'
        )
    if getattr(value, "jitter", None):
        raise InvalidOption(f'{where}: trigger={value!r:.200} has a jitter: use the schedule\'s jitter="30s" instead')
    if isinstance(value, BaseCombiningTrigger):
        kind = "and" if isinstance(value, AndTrigger) else "or"
        return {kind: [as_mapping(part, where, zone) for part in value.triggers]}
    if type(value) is DateTrigger:
        return {"date": {"run_date": value.run_date}}
    if type(value) is IntervalTrigger:
        given = {"seconds": value.interval_length, "end_date": value.end_date}
        return {"interval": given | ({} if _filled_in(value) else {"start_date": value.start_date})}
    if type(value) is CalendarIntervalTrigger:
        today = CalendarIntervalTrigger(days=1, timezone=UTC).start_date
        clock = dict(zip(("hour", "minute", "second"), value.__getstate__()["time"], strict=True))
        return {
            "calendar": {key: getattr(value, key) for key in ("years", "months", "weeks", "days", "end_date")}
            | clock
            | {"timezone": zone or _zone(value.timezone, where)}
            | {"start_date": None if value.start_date == today else value.start_date}
        }
    raise InvalidOption(
        f"{where}: trigger={value!r:.200} is of a class of its own, which no worker could rebuild: use interval, "
        "calendar, date, and, or"
    )


def _filled_in(trigger: IntervalTrigger) -> bool:
    """Whether its start is "now + interval", which the class sets where none is given."""
    from apscheduler.triggers.interval import IntervalTrigger

    if not trigger.start_date.microsecond:
        return False
    fresh = IntervalTrigger(seconds=1, timezone=UTC).start_date - timedelta(seconds=1)
    return bool(abs(fresh - (trigger.start_date - trigger.interval)) < _FRESH)


def _zone(zone: tzinfo, where: str) -> str:
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
    if name == "local":
        raise InvalidOption(f'{where}: trigger is in this machine\'s zone, whose name is not known: add timezone="…"')
    return str(name)
