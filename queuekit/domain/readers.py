"""How single options are read from what people say, and written as JSON. Their list is `domain.options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from queuekit import clock
from queuekit.domain import names
from queuekit.domain.duration import parse_duration
from queuekit.domain.values import JSON, Group, duration_json, group_json, to_group
from queuekit.errors import InvalidOption


def moment(value: object) -> int:
    """Absolute ms of an aware datetime or ISO 8601 text. Raises InvalidOption for a naive one."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise InvalidOption(f"{value!r} is no datetime; for a time from now use a delay")
    try:
        return clock.to_ms(value)
    except ValueError as error:
        raise InvalidOption(str(error)) from error


def expiry(value: object) -> tuple[str, int]:
    if isinstance(value, datetime):
        return ("at", moment(value))
    try:
        return ("in", parse_duration(value))  # type: ignore[arg-type]  # parse_duration refuses what is no duration
    except InvalidOption:
        if isinstance(value, str) and value[:4].isdigit():
            return ("at", moment(value))
        raise


def expiry_json(value: tuple[str, int]) -> JSON:
    return duration_json(value[1]) if value[0] == "in" else clock.to_datetime(value[1]).isoformat()


def timeout(value: object) -> int | None:
    if value is None:
        return None
    ms = parse_duration(value)  # type: ignore[arg-type]  # parse_duration refuses what is no duration
    if ms == 0:
        raise InvalidOption("a timeout of nothing ends every run at once; None is no timeout")
    return ms


def errors(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, (list, tuple)) else (value,)
    found = []
    for one in listed:
        if isinstance(one, type) and issubclass(one, BaseException):
            found.append(f"{one.__module__}.{one.__qualname__}")
        elif isinstance(one, str) and one.replace(".", "").isidentifier():
            found.append(one if "." in one else f"builtins.{one}")
        else:
            raise InvalidOption(f"{one!r} is no exception class")
    return tuple(found)


def tags(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [tag.strip() for tag in value.split(",") if tag.strip()]
    if not isinstance(value, Sequence) or not all(isinstance(tag, str) and 1 <= len(tag) <= 128 for tag in value):
        raise InvalidOption(f"tags {value!r:.80}: use texts of 1 to 128 characters")
    return tuple(value)


def flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        return value in ("true", "yes", "on", "1")
    raise InvalidOption(f"{value!r}: use true or false")


def executor(value: object) -> str:
    if value in ("auto", "async", "thread", "process"):
        return str(value)
    raise InvalidOption(f"executor {value!r}: use 'auto', 'async', 'thread' or 'process'")


def lease(value: object) -> int:
    ms = parse_duration(value)  # type: ignore[arg-type]  # parse_duration refuses what is no duration
    if ms < 100:
        raise InvalidOption(f"a lease of {value!r} is below 100 ms: no worker could renew it in time")
    return ms


def groups(value: object) -> Mapping[str, Group]:
    if not isinstance(value, Mapping):
        raise InvalidOption(f"groups {value!r:.80}: use a table of name to Group")
    return {names.job_id(name): to_group(group) for name, group in value.items()}


def groups_json(value: Mapping[str, Group]) -> JSON:
    return {name: group_json(group) for name, group in value.items()}


def itself(value: Any) -> Any:
    return value


def in_process(value: object) -> JSON:
    raise InvalidOption(f"{type(value).__name__} belongs to this process: it cannot be written down")
