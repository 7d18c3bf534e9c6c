"""A rule as people give it, read and checked key by key; every refusal shows a right one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from queuekit.domain.duration import format_duration, parse_duration
from queuekit.domain.timetable.cadence import Cadence, Every, Once
from queuekit.domain.timetable.cron import NAMED, Cron, walker
from queuekit.errors import InvalidOption

KINDS: Final = ("cron", "every", "at", "trigger")
KEYS: Final = (*KINDS, "timezone", "start", "end", "count", "jitter", "missed", "grace", "overlap")
SHORTEST: Final = 1000  # ms
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parsed(given: Mapping[str, Any], *, where: str, zone: str) -> dict[str, Any]:
    """The attributes of a Timetable."""
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"a schedule takes {', '.join(KEYS)}"
            raise InvalidOption(f"{where}: it has no {key!r}: {hint}")
    kinds = [key for key in KINDS if given.get(key) is not None]
    if len(kinds) != 1:
        said = f"both {' and '.join(kinds)}" if kinds else "none of them"
        raise InvalidOption(f'{where}: give one of cron, every, at or trigger, not {said}: cron="0 9 * * mon-fri"')
    own = given.get("timezone")
    zone = zone_name(own if own is not None else zone, where)
    start, end = (_bound(given, key, where) for key in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise InvalidOption(f"{where}: end={given['end']} is before start={given['start']}: swap them")
    cadence, needs_zone = _cadence(kinds[0], given[kinds[0]], where, zone, start)
    return {
        "cadence": cadence,
        "zone": zone if needs_zone or own is not None else "UTC",
        "start": start,
        "end": end,
        "count": _count(given.get("count"), where),
        "jitter": _span(given, "jitter", where) or 0,
        "missed": _one_of(given, "missed", ("once", "skip", "all"), where),
        "grace": _span(given, "grace", where),
        "overlap": _one_of(given, "overlap", ("allow", "skip", "replace"), where),
    }


def zone_name(name: object, where: str) -> str:
    """The name of a zone that there is; "UTC" for its other spellings. Raises InvalidOption with the nearest one."""
    if isinstance(name, ZoneInfo):
        name = name.key
    try:
        if not isinstance(name, str):
            raise ValueError(name)
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        known = {known.lower(): known for known in available_timezones()}
        near = difflib.get_close_matches(str(name).lower(), known, n=1)
        hint = f"did you mean {known[near[0]]!r}?" if near else 'use a name like "Europe/Berlin" or "UTC"'
        raise InvalidOption(f"{where}: timezone={name!r} is no time zone: {hint}") from None
    return "UTC" if name in {"Etc/UTC", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "Universal", "Etc/Universal"} else name


def moment_of(value: object, key: str, where: str) -> int:
    """ms of an aware datetime, or of ISO 8601 text with an offset."""
    read = value
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            read = None
    if not isinstance(read, datetime):
        kind = "is a day, not a moment" if isinstance(read, date) else "is no moment"
        raise InvalidOption(f'{where}: {key}={value!r} {kind}: use "2026-11-22T09:00:00Z" or an aware datetime')
    if read.utcoffset() is None:
        raise InvalidOption(
            f'{where}: {key}={value} does not say which zone it means: use "{read.isoformat()}Z", another offset, '
            "or datetime(…, tzinfo=ZoneInfo(…))"
        )
    return (read - _EPOCH) // timedelta(milliseconds=1)


def _cadence(kind: str, value: Any, where: str, zone: str, start: int | None) -> tuple[Cadence, bool]:
    if kind == "cron":
        return Cron(_expression(value, where), zone), True
    if kind == "every":
        period = _period(value, "every", where)
        return Every(period, format_duration(period), start), False
    if kind == "at":
        from queuekit.domain.timetable.table import slot_name

        at = moment_of(value, "at", where)
        return Once(at, slot_name(at)), False
    raise InvalidOption(f"{where}: trigger={value!r}: use cron, every or at")


def _expression(value: object, where: str) -> str:
    from cronsim import CronSimError

    usage = 'use "minute hour day month weekday", like "0 9 * * mon-fri"'
    if not isinstance(value, str) or len(value) > 256:
        raise InvalidOption(f"{where}: cron={value!r:.300} is no cron expression: {usage}")
    text = " ".join(value.split())
    if text.startswith("@") and text.lower() not in NAMED:
        raise InvalidOption(f"{where}: cron={value!r}: use one of {', '.join(NAMED)}, or {usage}")
    try:
        walker(text)
    except CronSimError as error:
        raise InvalidOption(f"{where}: cron={value!r}: {str(error).lower()}: {usage}") from None
    return text


def _period(value: Any, key: str, where: str) -> int:
    try:
        period = parse_duration(value)
    except InvalidOption as error:
        if isinstance(value, str) and any(word in value.lower() for word in ("month", "year")):
            hint = "trigger={'calendar': {'months': 1}} or cron=\"0 9 1 * *\""
            raise InvalidOption(f"{where}: {key}={value!r}: months differ in length: use {hint}") from None
        raise InvalidOption(f"{where}: {key}={error}") from None
    if period < SHORTEST:
        raise InvalidOption(f'{where}: {key}={value!r} is shorter than a second: use "1s" or more')
    return period


def _bound(given: Mapping[str, Any], key: str, where: str) -> int | None:
    value = given.get(key)
    return None if value is None else moment_of(value, key, where)


def _count(value: object, where: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOption(f"{where}: count={value!r}: it is a whole number from 1, or left out for no end")
    return value


def _span(given: Mapping[str, Any], key: str, where: str) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    try:
        return parse_duration(value)
    except InvalidOption as error:
        raise InvalidOption(f"{where}: {key}={error}") from None


def _one_of(given: Mapping[str, Any], key: str, known: tuple[str, ...], where: str) -> str:
    value = given.get(key)
    if value is None:
        return known[0]
    if value not in known:
        raise InvalidOption(f"{where}: {key}={value!r}: use {', '.join(map(repr, known))}")
    return str(value)
