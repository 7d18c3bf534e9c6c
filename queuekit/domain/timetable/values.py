"""Single values of a rule, read and checked; every refusal names the key and shows a right one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from queuekit.domain.duration import parse_duration
from queuekit.domain.timetable.cadence import LAST_MOMENT
from queuekit.domain.timetable.cron import NAMED, Cron, walker
from queuekit.errors import InvalidOption

SHORTEST: Final = 1000  # ms
_SAMPLE: Final = 1_704_067_200_000  # 2024-01-01: from where a rule is tried
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UTC = ("Etc/UTC", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "Universal", "Etc/Universal")
_NO_ZONES = ("localtime", "Factory", "posixrules")  # files beside the zones: they differ by machine
_RANGES = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 or L, or a day that its months do not have",
    "month": "1-12 or jan-dec",
    "day-of-week": "0-7 or sun-sat",
}
_SIZES = (  # how many there are of each, and what to count in instead
    ("second", 60, "second"), ("minute", 60, "minute"), ("hour", 24, "hour"), ("day-of-month", 31, "day"),
    ("month", 12, ""), ("day-of-week", 7, ""),
)  # fmt: skip


def slot_name(slot: int) -> str:
    """ "2026-11-22T09:00:00Z"; with ".500" where it is no whole second."""
    text = f"{_EPOCH + timedelta(milliseconds=slot):%Y-%m-%dT%H:%M:%S}"
    return f"{text}.{slot % 1000:03}Z" if slot % 1000 else f"{text}Z"


def zone_name(name: object, where: str) -> str:
    """The name of a zone that there is; "UTC" for its other spellings. Raises InvalidOption with the nearest one."""
    if isinstance(name, ZoneInfo):
        name = name.key
    try:
        if not isinstance(name, str) or name in _NO_ZONES or name not in _zones(name):
            raise ValueError(name)
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        known = {known.lower(): known for known in available_timezones()}
        near = difflib.get_close_matches(str(name).lower(), known, n=1)
        hint = f"did you mean {known[near[0]]!r}?" if near else 'use a name like "Europe/Berlin" or "UTC"'
        raise InvalidOption(f"{where}: timezone={name!r} is no time zone: {hint}") from None
    return "UTC" if name in _UTC else name


def _zones(name: str) -> AbstractSet[str]:
    """The names as they are written: on some machines "europe/berlin" opens a file too, and not on the worker's."""
    listed = _listed()
    return listed if name in listed else available_timezones()  # those of this machine: 600 files are opened


@lru_cache(1)
def _listed() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


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
    moment = (read - _EPOCH) // timedelta(milliseconds=1)
    if not 0 <= moment < LAST_MOMENT:
        raise InvalidOption(f"{where}: {key}={value} is out of reach: use a year from 1970 to 9998")
    return moment


def cron_text(value: object, where: str, *, check: bool) -> str:
    """The expression with single blanks, if cronsim can read it; `check`: and if it ever comes."""
    from cronsim import CronSimError

    usage = 'use "minute hour day month weekday", like "0 9 * * mon-fri"'
    if not isinstance(value, str) or len(value) > 256:
        raise InvalidOption(f"{where}: cron={value!r:.300} is no cron expression: {usage}")
    text = " ".join(value.split())
    if text.startswith("@") and text.lower() not in NAMED:
        raise InvalidOption(f"{where}: cron={value!r} is none of {', '.join(NAMED)}: use one of them, or every=")
    try:
        comes = not check or Cron(text, "UTC").after(_SAMPLE, 0) is not None
        walker(text)
    except CronSimError as error:
        said = str(error).removeprefix("Bad ")
        if said in _RANGES:
            raise InvalidOption(f"{where}: cron={value!r}: its {said} is not {_RANGES[said]}: {usage}") from None
        raise InvalidOption(f"{where}: cron={value!r} has {len(text.split())} fields: {usage}") from None
    if not comes:
        raise InvalidOption(f"{where}: cron={value!r} does not come in fifty years: {usage}")
    if check and not text.startswith("@"):
        _steps_fit(text, value, where)
    return text


def _steps_fit(text: str, value: str, where: str) -> None:
    """Refuse "*/90" minutes: cron begins anew with every hour, so it would come each hour."""
    fields = text.split()
    for (name, size, unit), part in zip(_SIZES[-len(fields) :], fields, strict=True):
        for step in re.findall(r"\*/(\d+)", part):
            if int(step) > size:
                hint = f'use every="{step} {unit}s"' if unit else "name the ones that are meant"
                raise InvalidOption(f"{where}: cron={value!r}: its {name} steps by {step}, and has only {size}: {hint}")


def period_of(value: Any, key: str, where: str) -> int:
    """ms of a duration of a second or more."""
    try:
        period = parse_duration(value)
    except InvalidOption as error:
        if isinstance(value, str) and any(word in value.lower() for word in ("month", "year")):
            hint = "trigger={'calendar': {'months': 1, 'hour': 9}} or cron=\"0 9 1 * *\""
            raise InvalidOption(f"{where}: {key}={value!r}: months differ in length: use {hint}") from None
        raise InvalidOption(f"{where}: {key}={error}") from None
    if period < SHORTEST:
        raise InvalidOption(f'{where}: {key}={value!r} is shorter than a second: use "1s" or more')
    return period


def span_of(value: Any, key: str, where: str) -> int | None:
    """ms of a duration, None of None."""
    try:
        return None if value is None else parse_duration(value)
    except InvalidOption as error:
        raise InvalidOption(f"{where}: {key}={error}") from None


def whole(value: object, key: str, where: str, least: int, most: int, example: str) -> int:
    """A whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidOption(f"{where}: {key}={value!r} is no whole number from {least} to {most}: {example}")
    return value


def one_of(value: object, key: str, known: tuple[str, ...], where: str) -> str:
    """One of the known words; the first for None."""
    if value is None:
        return known[0]
    if value not in known:
        raise InvalidOption(f"{where}: {key}={value!r}: use {', '.join(map(repr, known))}")
    return str(value)
