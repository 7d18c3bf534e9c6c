"""Durations as people write them, to whole milliseconds. A duration is never negative."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

from queuekit.errors import InvalidOption

Duration: TypeAlias = timedelta | float | str

_UNITS = {
    "ms": 1, "millisecond": 1, "s": 1000, "sec": 1000, "second": 1000, "m": 60_000, "min": 60_000, "minute": 60_000,
    "h": 3_600_000, "hr": 3_600_000, "hour": 3_600_000, "d": 86_400_000, "day": 86_400_000, "w": 604_800_000,
    "week": 604_800_000,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_ISO = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_ISO_UNITS = (604_800_000, 86_400_000, 3_600_000, 60_000, 1000)
_HELP = 'use seconds (90), timedelta(minutes=5), "5m", "30 seconds", "1h30m" or ISO 8601 ("PT5M")'


def parse_duration(value: Duration) -> int:
    """Milliseconds of a timedelta, a number of seconds, "5m", "30 seconds", "1h30m" or "PT5M".

    Fractions of a millisecond round up. Raises InvalidOption for anything else and below zero.
    """
    if isinstance(value, timedelta):
        ms = math.ceil(value / timedelta(milliseconds=1))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise InvalidOption(f"{value!r} is no duration: {_HELP}")
        ms = math.ceil(round(value * 1000, 6))
    elif isinstance(value, str):
        ms = _parse_text(value)
    else:
        raise InvalidOption(f"{value!r} is no duration: {_HELP}")
    if ms < 0:
        raise InvalidOption(f"{value!r} is below zero: a duration never is")
    return ms


def format_duration(ms: int) -> str:
    """Short text that `parse_duration` reads back: 5400000 -> "1h30m"."""
    if ms == 0:
        return "0s"
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _parse_text(text: str) -> int:
    plain = text.strip().lower()
    try:
        return math.ceil(round(float(plain) * 1000, 6))
    except (ValueError, OverflowError):
        pass  # not a bare number of seconds: try the other spellings
    total, end = 0.0, 0
    for match in _PART.finditer(plain):
        unit = match[2] if match[2] in _UNITS else match[2].removesuffix("s")
        if plain[end : match.start()].strip(" ,") or unit not in _UNITS:
            break
        total, end = total + float(match[1]) * _UNITS[unit], match.end()
    if end and end == len(plain):
        return math.ceil(round(total, 6))
    iso = _ISO.fullmatch(plain)
    if iso is not None and any(iso.groups()):
        return math.ceil(round(sum(float(n) * unit for n, unit in zip(iso.groups(), _ISO_UNITS, strict=True) if n), 6))
    raise InvalidOption(f"{text!r} is no duration: {_HELP}")
