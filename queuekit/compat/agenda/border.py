"""What Agenda's users write, in our words: moments, intervals, priorities with the higher first, names in camelCase."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from queuekit import InvalidOption, Priority
from queuekit.compat.moments import moment_of
from queuekit.domain.duration import parse_duration
from queuekit.domain.job import PRIORITY_MAX
from queuekit.domain.readers import moment

When: TypeAlias = datetime | timedelta | str | None

log = logging.getLogger("queuekit.compat")
_NAMES = {"lowest": -20, "low": -10, "normal": 0, "high": 10, "highest": 20}
_ISO = re.compile(r"\d{4}-\d\d-\d\d.*")
_COUNTS = {
    "a": "1", "an": "1", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9", "ten": "10", "fifteen": "15", "twenty": "20", "thirty": "30",
}  # fmt: skip
_UNIT = re.compile(r"\b(ms|milliseconds?|secs?|seconds?|mins?|minutes?|hours?|days?|weeks?)\b")
_NUMBER = re.compile(r"[\d.]+")
_EVERY_OPTIONS = {"timezone": "timezone", "start_date": "start", "end_date": "end", "skip_immediate": ""}
_NOT_EVERY = {
    "skip_days": "say the days in cron: '0 9 * * mon-fri'",
    "fork_mode": "leave it out: plain functions run in threads by themselves",
}


def when_options(when: When) -> dict[str, Any]:
    """`run_at` or `delay`: a moment (aware, or ISO 8601 text), a timedelta, "in 5 minutes"; None and "now" are now.

    A moment that has passed by is now. Raises InvalidOption, for a naive datetime and for a bare number, too.
    """
    if when is None or when == "now":
        return {}
    if isinstance(when, datetime):
        moment(when)
        return {"run_at": when}
    if isinstance(when, timedelta):
        return {"delay": max(when, timedelta())}
    if not isinstance(when, str):
        raise InvalidOption(f'when={when!r}: use an aware datetime, a timedelta or "in 5 minutes"')
    if _ISO.fullmatch(when):
        moment(when)
        return {"run_at": datetime.fromisoformat(when)}
    return {"delay": parse_duration(when.removeprefix("in ")) / 1000}


def to_ours(priority: int | str | Priority) -> int:
    """Ours runs the lower first: highest 20 is 0, high 10 is 5, normal 0 is 10, low -10 is 15, lowest -20 is 20.

    A `Priority` is ours already, and "critical" is one. Raises InvalidOption.
    """
    if isinstance(priority, Priority):
        return int(priority)
    if isinstance(priority, str):
        name = priority.strip().lower()
        if name == "critical":
            return int(Priority.CRITICAL)
        if name not in _NAMES:
            raise InvalidOption(f"priority {priority!r}: use {', '.join(_NAMES)}, critical, or a number, higher first")
        priority = _NAMES[name]
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidOption(f"priority {priority!r}: use {', '.join(_NAMES)}, critical, or a number, higher first")
    wanted = 10 - priority // 2
    ours = min(max(wanted, 0), PRIORITY_MAX)
    if ours != wanted:
        log.warning("priority %d is beyond what there is; it runs as %d (lower runs first here)", priority, ours)
    return ours


def snake(data: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with its own names in snake_case: bookingId is booking_id. What is nested stays as it is."""
    return {re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower(): value for name, value in data.items()}


def dates_as_text(data: Any) -> Any:
    """Aware datetimes as ISO 8601 text, which is what JSON made of a Date. Raises InvalidOption for a naive one."""
    if isinstance(data, datetime):
        moment(data)
        return data.isoformat()
    if isinstance(data, dict):
        return {name: dates_as_text(value) for name, value in data.items()}
    return [dates_as_text(value) for value in data] if isinstance(data, list) else data


def before_label(ms: int) -> str:
    """How long before, as ids have it: "24h", "15m"."""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"


def interval_ms(said: object) -> int:
    """Milliseconds of an interval as Agenda has it: a number of them, a timedelta, "3 minutes", "one hour",
    "2 minutes and 30 seconds". Raises InvalidOption.
    """
    if isinstance(said, timedelta):
        return parse_duration(said)
    if isinstance(said, int | float) and not isinstance(said, bool):
        return parse_duration(said / 1000)
    if not isinstance(said, str):
        raise InvalidOption(f'{said!r} is no interval: use "3 minutes", a number of milliseconds or a timedelta')
    words = [_COUNTS.get(word, word) for word in re.split(r"[\s,]+", said.strip().lower()) if word != "and"]
    if len(words) == 1 and _UNIT.fullmatch(words[0]):
        words.insert(0, "1")  # "minute"
    text = " ".join(words)
    if not text or _NUMBER.fullmatch(text):
        raise InvalidOption(f'interval {said!r}: of what? Use "3 minutes", or a number for milliseconds')
    try:
        return parse_duration(text)
    except InvalidOption:
        raise InvalidOption(
            f'{said!r} is no interval: use "3 minutes", "1 hour and 30 minutes", or cron: "0 9 * * mon-fri"'
        ) from None


def every_rule(interval: object, options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schedule's rule of `every(interval, …, options)`, and whether it runs once at once: an interval does, as in
    Agenda, unless skipImmediate or startDate says otherwise; cron does not.

    Never beside itself: Agenda keeps one job for each name. Raises InvalidOption.
    """
    said = snake(options)
    for name in said:
        if name in _NOT_EVERY:
            raise InvalidOption(f"every's option {name!r}: {_NOT_EVERY[name]}")
        if name not in _EVERY_OPTIONS:
            raise InvalidOption(f"every has no option {name!r}; there are: {', '.join(_EVERY_OPTIONS)}")
    cron = _is_cron(interval)
    rule: dict[str, Any] = {"cron": interval} if cron else {"every": timedelta(milliseconds=_period(interval))}
    if said.get("timezone") is not None:
        rule["timezone"] = said["timezone"]
    for name in ("start_date", "end_date"):
        if said.get(name) is not None:
            rule[_EVERY_OPTIONS[name]] = moment_of(name, said[name])
    return {**rule, "overlap": "skip"}, not cron and not said.get("skip_immediate") and "start" not in rule


def _period(interval: object) -> int:
    from queuekit.domain.timetable.values import SHORTEST

    period = interval_ms(interval)
    if period < SHORTEST:
        shown = f"{interval} (milliseconds)" if isinstance(interval, int | float) else repr(str(interval))
        raise InvalidOption(
            f'every {shown} is shorter than a second: use "1 second", {SHORTEST} or more; for less let each job'
            " schedule the next one"
        )
    return period


def _is_cron(interval: object) -> bool:
    """Whether it has cron's fields; "2 minutes and 30 seconds" are five words as well."""
    if not isinstance(interval, str):
        return False
    return interval.startswith("@") or (len(interval.split()) in (5, 6) and not _UNIT.search(interval.lower()))
