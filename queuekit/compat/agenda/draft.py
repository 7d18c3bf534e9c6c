"""A job that is said in a chain, `create(...).repeat_every(...).save()`: nothing is written before `save`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from queuekit import InvalidOption, clock
from queuekit.compat.agenda.border import when_options

if TYPE_CHECKING:
    from queuekit.compat.agenda.border import When
    from queuekit.compat.agenda.processor import JobProcessor
    from queuekit.compat.agenda.repeating import Interval

_CLOCK = re.compile(r"(?:at\s+)?(\d{1,2})(?::(\d\d))?\s*(am|pm)?")
_WORDS = {"noon": "12:00", "midnight": "0:00"}


class Draft:
    """See `JobProcessor.create`."""

    def __init__(self, jobs: JobProcessor, type: str, data: Any) -> None:
        self._jobs, self._type, self._data = jobs, type, data
        self._when: When = None
        self._interval: Interval | None = None
        self._options: dict[str, Any] = {}
        self._priority: Any = None

    def schedule(self, when: When) -> Self:
        """Once, at a time: as `schedule_job` takes it."""
        self._when = when
        return self

    def repeat_every(self, interval: Interval, options: dict[str, Any] | None = None) -> Self:
        """Again and again: as `every` takes it."""
        self._interval, self._options = interval, dict(options or {})
        return self

    def repeat_at(self, time: str, options: dict[str, Any] | None = None) -> Self:
        """Every day at a time: "15:30", "3:30pm", "at noon". Raises InvalidOption."""
        return self.repeat_every(_daily(time), options)

    def priority(self, priority: int | str) -> Self:
        """ "low", "normal", "high" … or Agenda's number, the higher first."""
        self._priority = priority
        return self

    def save(self) -> str:
        """Write it: a job, or with `repeat_every` a schedule; its id. Raises what `every` and `schedule_job` raise."""
        if self._interval is None:
            return self._jobs.schedule_job(None, self._when, self._type, self._data, priority=self._priority)
        return self._jobs.every(self._interval, self._type, self._data, self._repeating())

    async def asave(self) -> str:
        """See `save`."""
        if self._interval is None:
            return await self._jobs.aschedule_job(None, self._when, self._type, self._data, priority=self._priority)
        return await self._jobs.aevery(self._interval, self._type, self._data, self._repeating())

    def _repeating(self) -> dict[str, Any]:
        options = dict(self._options)
        if self._when is not None:
            if "startDate" in options or "start_date" in options:
                raise InvalidOption("schedule() and startDate both say when it begins: one of them will do")
            said = when_options(self._when)
            options["startDate"] = said.get("run_at") or clock.now() + timedelta(seconds=said.get("delay", 0))
        return options if self._priority is None else {**options, "priority": self._priority}


def _daily(time: str) -> str:
    text = time.strip().lower()
    found = _CLOCK.fullmatch(_WORDS.get(text.removeprefix("at ").strip(), text))
    hour, minute, half = (int(found[1]), int(found[2] or 0), found[3]) if found else (-1, 0, None)
    if found is None or minute > 59 or not (1 <= hour <= 12 if half else 0 <= hour <= 23):
        raise InvalidOption(f'repeat_at {time!r}: use a time of day, "15:30" or "3:30pm"')
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return f"{minute} {hour} * * *"
