"""The plain form of a trigger, read and checked: interval, calendar, date, cron, and, or."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from queuekit.domain.timetable.cadence import Cadence, Every, Once
from queuekit.domain.timetable.calendar import Calendar
from queuekit.domain.timetable.combined import Both, Either, Written
from queuekit.domain.timetable.cron import Cron
from queuekit.domain.timetable.values import SHORTEST, cron_text, moment_of, slot_name, whole, zone_name
from queuekit.errors import InvalidOption

MOST_PARTS: Final = 20
_UNITS = {"weeks": 5200, "days": 36_500, "hours": 1e6, "minutes": 6e7, "seconds": 4e9}  # and the most: a century
_STEPS = {"years": 100, "months": 1200, "weeks": 5200, "days": 36_500}
_CLOCK = {"hour": 23, "minute": 59, "second": 59}
_EXAMPLES = {
    "interval": '{"interval": {"hours": 2}}',
    "calendar": '{"calendar": {"months": 1, "hour": 9}}',
    "date": '{"date": {"run_date": "2026-11-22T09:00:00Z"}}',
    "cron": '{"cron": "0 9 * * mon-fri"}',
    "and": '{"and": [{"cron": "0 9 * * mon"}, {"calendar": {"weeks": 2, "hour": 9, "start_date": "2026-11-23"}}]}',
    "or": '{"or": [{"interval": {"hours": 2}}, {"cron": "0 9 * * *"}]}',
}


def read(given: Mapping[str, Any], *, where: str, zone: str, start: int | None, check: bool, depth: int = 0) -> Cadence:
    """The cadence of {"interval": {…}} and its kin. `start` is where intervals begin that name no start_date.
    `check`: look too whether a combination ever agrees."""
    kinds = [kind for kind in _EXAMPLES if kind in given]
    if len(kinds) != 1:
        known = difflib.get_close_matches(str(next(iter(given), "")), _EXAMPLES, n=1) or ["interval"]
        raise InvalidOption(f"{where}: give one of {', '.join(_EXAMPLES)}: {_EXAMPLES[known[0]]}")
    kind = kinds[0]
    if kind == "cron":
        _known(given, ("cron", "timezone"), where, _EXAMPLES[kind])
        zone = zone_name(given.get("timezone") or zone, where)
        cron = Cron(cron_text(given["cron"], where, check=check), zone)
        return Written(cron, {"cron": cron.expression, "timezone": zone})
    _known(given, (kind,), where, _EXAMPLES[kind])
    inner, where = given[kind], f"{where}: {kind}"
    if kind in ("and", "or"):
        return _combined(kind, inner, where=where, zone=zone, start=start, check=check, depth=depth)
    if not isinstance(inner, Mapping):
        raise InvalidOption(f"{where}: {inner!r:.200} is no mapping: {_EXAMPLES[kind]}")
    if kind == "interval":
        return _interval(inner, where, start)
    if kind == "calendar":
        return _calendar(inner, where, zone)
    _known(inner, ("run_date",), where, _EXAMPLES[kind])
    at = moment_of(inner.get("run_date"), "run_date", where)
    return Written(Once(at, slot_name(at)), {"date": {"run_date": slot_name(at)}})


def _combined(
    kind: str, given: object, *, where: str, zone: str, start: int | None, check: bool, depth: int
) -> Cadence:
    if not isinstance(given, Sequence) or isinstance(given, str) or not 1 <= len(given) <= MOST_PARTS:
        raise InvalidOption(f"{where}: use a list of 1 to {MOST_PARTS} triggers: {_EXAMPLES[kind]}")
    if depth >= 3 or not all(isinstance(part, Mapping) for part in given):
        raise InvalidOption(f"{where}: its parts are triggers, at most three lists deep: {_EXAMPLES[kind]}")
    parts = tuple(
        read(part, where=f"{where} {number}", zone=zone, start=start, check=check, depth=depth + 1)
        for number, part in enumerate(given, 1)
    )
    if kind == "or":
        return Either(parts)
    floating = [part for part in parts if isinstance(part, Written) and _floats(part)]
    if floating and len(floating) < len(parts):
        raise InvalidOption(
            f"{where}: an interval without a start_date begins when the schedule is written, and would never agree "
            'with a clock: add "start_date": "2026-11-22T09:00:00Z" to it'
        )
    both = Both(parts)
    if check and both.after(0, 0) is None:
        raise InvalidOption(f"{where}: its triggers never agree on a moment: {_EXAMPLES[kind]}")
    return both


def _floats(part: Written) -> bool:
    return isinstance(part.cadence, Every) and part.cadence.start is None


def _interval(given: Mapping[str, Any], where: str, start: int | None) -> Cadence:
    example = _EXAMPLES["interval"]
    _known(given, (*_UNITS, "start_date", "end_date"), where, example)
    units = {unit: given[unit] for unit in _UNITS if given.get(unit)}
    for unit, value in units.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= _UNITS[unit]:
            raise InvalidOption(f"{where}: {unit}={value!r} is no number of {unit} up to a century: {example}")
    length = timedelta(**units)
    period = length // timedelta(milliseconds=1)
    if period < SHORTEST:
        raise InvalidOption(f"{where}: it is shorter than a second: {example}")
    plain: dict[str, Any] = {"seconds": period // 1000 if period % 1000 == 0 else period / 1000}
    bounds = {key: given.get(key) for key in ("start_date", "end_date")}
    moments = {key: moment_of(value, key, where) for key, value in bounds.items() if value is not None}
    _in_order(moments.get("start_date"), moments.get("end_date"), where)
    plain |= {key: slot_name(moment) for key, moment in moments.items()}
    every = Every(period, "", moments.get("start_date", start), moments.get("end_date"))
    return Written(every, {"interval": plain})


def _calendar(given: Mapping[str, Any], where: str, zone: str) -> Cadence:
    example = _EXAMPLES["calendar"]
    _known(given, (*_STEPS, *_CLOCK, "timezone", "start_date", "end_date"), where, example)
    numbers = {key: whole(given.get(key) or 0, key, where, 0, most, example) for key, most in (_STEPS | _CLOCK).items()}
    if not any(numbers[key] for key in _STEPS):
        raise InvalidOption(f"{where}: it steps by years, months, weeks or days: {example}")
    days = {key: _day(given.get(key), key, where) for key in ("start_date", "end_date")}
    _in_order(days["start_date"], days["end_date"], where)
    first, last = days["start_date"], days["end_date"]
    return Calendar(**numbers, start_date=first, end_date=last, zone=zone_name(given.get("timezone") or zone, where))


def _day(value: object, key: str, where: str) -> date | None:
    if value is None:
        return None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # refused below, as every other value that is no day
            value = date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime) and 1970 <= value.year < 9999:
        return value
    raise InvalidOption(f'{where}: {key}={value!r} is no day: use "2026-11-22"')


def _in_order(start: Any, end: Any, where: str) -> None:
    if start is not None and end is not None and end < start:
        raise InvalidOption(f"{where}: its end_date is before its start_date: swap them")


def _known(given: Mapping[str, Any], keys: Sequence[str], where: str, example: str) -> None:
    for key in given:
        if key == "jitter":
            raise InvalidOption(f'{where}: a trigger has no jitter here: use the schedule\'s jitter="30s"')
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            raise InvalidOption(f"{where}: it has no {key!r}: {f'did you mean {near[0]!r}?' if near else example}")
