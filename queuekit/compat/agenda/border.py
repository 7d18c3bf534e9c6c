"""What Agenda's users write, in our words: moments, priorities with the higher one first, names in camelCase."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from queuekit import InvalidOption, Priority
from queuekit.domain.duration import parse_duration
from queuekit.domain.job import PRIORITY_MAX
from queuekit.domain.readers import moment

When: TypeAlias = datetime | timedelta | str | None

log = logging.getLogger("queuekit.compat")
_NAMES = {"lowest": -20, "low": -10, "normal": 0, "high": 10, "highest": 20}
_ISO = re.compile(r"\d{4}-\d\d-\d\d.*")


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
