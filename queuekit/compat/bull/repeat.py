"""Bull's `repeat` and BullMQ's job schedulers as rules of schedules. Pure: no queue is asked here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from queuekit import InvalidOption, clock
from queuekit.compat.bull.options import snake
from queuekit.compat.moments import moment_of

_KNOWN = (
    "pattern", "cron", "every", "limit", "count", "tz", "start_date", "end_date", "immediately", "offset", "key",
    "job_id",
)  # fmt: skip
_OUTSIDE = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """What is repeated when. `at_once`: the first job comes as soon as the schedule is there."""

    rule: Mapping[str, Any]
    at_once: bool
    key: str | None = None
    job_id: str | None = None


def scheduler_rule(repeat: Mapping[str, Any]) -> Repeat:
    """The options of `upsertJobScheduler`. `every` counts from the first job, which comes at once; with an `offset`
    from multiples of itself since 1970. Raises InvalidOption.
    """
    said = _checked(repeat)
    for name in ("key", "job_id"):
        if name in said:
            raise InvalidOption(f"repeat: a job scheduler has its own id; leave {name!r} out")
    rule = _bounds(said)
    at_once = bool(said.get("immediately"))
    if "every" in rule and "start" not in rule:
        if said.get("offset"):
            rule["start"] = clock.to_datetime(_offset(said))
        else:
            at_once = True
    return Repeat(rule=rule, at_once=at_once)


def repeatable_rule(repeat: Mapping[str, Any]) -> Repeat:
    """The `repeat` of a job's options: `every` falls on multiples of itself since 1970, as in Bull, and `immediately`
    has one more in front. Raises InvalidOption.
    """
    said = _checked(repeat)
    rule = _bounds(said)
    if "every" in rule:
        period, begin = rule["every"] // timedelta(milliseconds=1), rule.get("start")
        first = 0 if begin is None else -(-clock.to_ms(begin) // period) * period
        rule["start"] = clock.to_datetime(first + _offset(said))
    return Repeat(
        rule=rule, at_once=bool(said.get("immediately")), key=_text(said, "key"), job_id=_text(said, "job_id")
    )


def scheduler_id(queue: str, id: str) -> str:
    """The schedule's id: Bull's are of a queue, ours of the whole kit."""
    return f"{queue}:{id}"


def repeatable_key(name: str, repeat: Repeat, job_id: str | None) -> str:
    """What tells a repeated job from others of its queue: its key, or its name and what its rule says."""
    if repeat.key is not None:
        return repeat.key
    parts = [job_id or repeat.job_id or "", *(f"{k}={repeat.rule[k]}" for k in sorted(repeat.rule) if k != "count")]
    return f"{_OUTSIDE.sub('-', name)}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _checked(repeat: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(repeat, Mapping):
        raise InvalidOption(f"repeat {repeat!r:.80}: use {{'pattern': '0 9 * * *'}} or {{'every': 60_000}}")
    said = {name: value for name, value in snake(repeat).items() if value is not None}
    unknown = sorted(said.keys() - set(_KNOWN))
    if unknown:
        raise InvalidOption(f"repeat has no option {', '.join(unknown)}; known: {', '.join(_KNOWN)}")
    if "pattern" in said and "cron" in said:
        raise InvalidOption("repeat: 'pattern' and 'cron' are one option under two names; give one")
    if "cron" in said:
        said["pattern"] = said.pop("cron")
    if ("pattern" in said) == ("every" in said):
        raise InvalidOption("repeat: give either 'pattern', such as '0 9 * * *', or 'every' in ms, such as 60_000")
    if said.get("immediately") and "start_date" in said:
        raise InvalidOption("repeat: 'immediately' and 'startDate' both say when it begins; give one")
    if "offset" in said and "pattern" in said:
        raise InvalidOption("repeat: 'offset' goes with 'every'; a pattern names its minutes itself")
    return said


def _bounds(said: Mapping[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if "pattern" in said:
        rule["cron"] = said["pattern"]
    else:
        rule["every"] = timedelta(milliseconds=_period(said))
    if "tz" in said:
        rule["timezone"] = said["tz"]
    if "start_date" in said:
        rule["start"] = moment_of("startDate", said["start_date"])
    if "end_date" in said:
        rule["end"] = moment_of("endDate", said["end_date"])
    if "limit" in said:
        left = _whole(said, "limit", 1) - (_whole(said, "count", 0) if "count" in said else 0)
        if left < 1:
            raise InvalidOption(f"repeat: limit {said['limit']} is reached already by count {said['count']}")
        rule["count"] = left
    return rule


def _period(said: Mapping[str, Any]) -> int:
    from queuekit.domain.timetable.values import SHORTEST

    period = _whole(said, "every", 1)
    if period < SHORTEST:
        raise InvalidOption(
            f"repeat: every {said['every']} is {period} ms, and a schedule needs {SHORTEST} or more:"
            f" give {period * 1000} if seconds were meant; for less let each job add the next one, with"
            f" {{'delay': {period}}}"
        )
    return period


def _offset(said: Mapping[str, Any]) -> int:
    return _whole(said, "offset", 0) if "offset" in said else 0


def _whole(said: Mapping[str, Any], name: str, least: int) -> int:
    value = said[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least or value != int(value):
        raise InvalidOption(f"repeat: {name} {value!r} is no whole number from {least}")
    return int(value)


def _text(said: Mapping[str, Any], name: str) -> str | None:
    return str(said[name]) if name in said else None
