"""The canonical record read back, strictly: what this queuekit does not know is refused, never dropped in silence.

What a record is, and how it is written, stands in `records`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import orjson

from queuekit.domain import names
from queuekit.domain.job import ERRORS_KEPT, LOGS_KEPT, PRIORITY_MAX, JobRecord, Retention, UniqueKey
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import Line, State
from queuekit.domain.timetable.cadence import LAST_MOMENT
from queuekit.errors import InvalidName, PayloadError
from queuekit.move.records import ALWAYS, FIELDS, UNIQUE, VERSION

INT_MAX: Final = 2**53 - 1  # every store, and every reader of JSON, keeps integers up to here
T = TypeVar("T")


class Unreadable(PayloadError):
    """A record that is not what this queuekit writes."""


def loads(line: bytes | str) -> Parcel:
    """What `dumps` wrote. Raises Unreadable for anything else: an unknown field is never dropped in silence."""
    return parse(parsed(line))


def parsed(line: bytes | str) -> dict[str, Any]:
    """The JSON object of a line. Raises Unreadable."""
    try:
        value = orjson.loads(line)
    except ValueError:
        try:
            value = json.loads(line)  # lone surrogates
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"this is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Unreadable("this is no JSON object")
    return value


def parse(said: Mapping[str, Any]) -> Parcel:
    """The parcel that a canonical object tells. Raises Unreadable, naming the field and what it may be."""
    rest = dict(said)
    version = rest.pop("v", None)
    if type(version) is not int or version < 1:
        raise Unreadable('no format version: a record says "v":1')
    if version > VERSION:
        raise Unreadable(f"format version {version}; this queuekit reads up to {VERSION}: upgrade it")
    awaited, holds = (_flag(rest.pop(name, False), name) for name in ("awaited", "holds"))
    expires = rest.pop("key_expires", None)
    values: dict[str, Any] = {}
    for name, value in rest.items():
        read = _READERS.get(name)
        if read is None:
            raise Unreadable(f"unknown field {name!r}: written by another queuekit, or changed by hand")
        values[name] = read(value, name)
    missing = [name for name in ALWAYS if name not in values]
    if missing:
        raise Unreadable(f"{missing[0]!r} is missing")
    record = JobRecord(**values)
    if holds and record.unique is None:
        raise Unreadable("'holds' without 'unique'")
    if expires is not None and not holds:
        raise Unreadable("'key_expires' without 'holds'")
    if record.line is not None and record.state not in (State.WAITING, State.ACTIVE):
        raise Unreadable(f"a job that is {record.state} stands on no line")
    return Parcel(
        record=record,
        holds=holds,
        awaited=awaited,
        key_expires=None if expires is None else _int(expires, "key_expires"),
    )


def held_key(said: Mapping[str, Any]) -> HeldKey:
    """A key without a job, as `{"key", "id", "expires"}`. Raises Unreadable."""
    if said.keys() != {"key", "id", "expires"}:
        raise Unreadable("a held key says key, id and expires")
    return HeldKey(
        key=_text(said["key"], "key"),
        id=_named(names.job_id)(said["id"], "id"),
        expires=_count(said["expires"], "expires"),
    )


def schedule(said: Mapping[str, Any]) -> ScheduleRecord:
    """A schedule, as `records.schedule_said` tells it. Raises Unreadable, naming the field and what it may be."""
    values: dict[str, Any] = {}
    for name, value in said.items():
        read = _SCHEDULE.get(name)
        if read is None:
            raise Unreadable(f"unknown field {name!r}: written by another queuekit, or changed by hand")
        values[name] = read(value, name)
    missing = [name for name in ("queue", "id", "definition", "rev") if name not in values]
    if missing:
        raise Unreadable(f"{missing[0]!r} is missing")
    return ScheduleRecord(**values)


def _wrong(name: str, wanted: str, value: object) -> Unreadable:
    return Unreadable(f"{name} is {value!r:.60}, not {wanted}")


def _flag(value: object, name: str) -> bool:
    if value is not True and value is not False:
        raise _wrong(name, "true", value)
    return value


def _text(value: object, name: str) -> str:
    if type(value) is not str:
        raise _wrong(name, "text", value)
    return value


def _int(value: object, name: str) -> int:
    if type(value) is not int or not -INT_MAX <= value <= INT_MAX:
        raise _wrong(name, "a whole number below 2^53", value)
    return value


def _count(value: object, name: str) -> int:
    if _int(value, name) < 0:
        raise _wrong(name, "0 or more", value)
    return _int(value, name)


def _moment(least: int) -> Callable[[object, str], int]:
    def read(value: object, name: str) -> int:
        if not least <= _int(value, name) <= LAST_MOMENT:
            raise _wrong(name, f"a moment before the year 9999, in ms from {least}", value)
        return _int(value, name)

    return read


def _bytes(value: object, name: str) -> bytes:
    if type(value) is str:
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise _wrong(name, "text that UTF-8 can hold", value) from None
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            pass
    raise _wrong(name, 'text, or {"b64": "…"}', value)


def _many(most: int) -> Callable[[object, str], tuple[bytes, ...]]:
    def read(value: object, name: str) -> tuple[bytes, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(name, f"a list of at most {most}", value)
        return tuple(_bytes(one, name) for one in value)

    return read


def _named(check: Callable[[str], str]) -> Callable[[object, str], str]:
    def read(value: object, name: str) -> str:
        try:
            return check(_text(value, name))
        except InvalidName as error:
            raise Unreadable(str(error)) from None

    return read


def _member(of: Callable[[str], T], wanted: str) -> Callable[[object, str], T]:
    def read(value: object, name: str) -> T:
        try:
            return of(_text(value, name))
        except ValueError:
            raise _wrong(name, wanted, value) from None

    return read


def _state(text: str) -> State:
    state = State(text)
    if state.value != text:  # State("scheduled") is DELAYED
        raise ValueError(text)
    return state


def _retention(text: str) -> Retention:
    kept = Retention.parse(text)
    if kept.label != text:
        raise ValueError(text)
    return kept


def _label(text: str) -> str:
    return _retention(text).label


def _priority(value: object, name: str) -> int:
    if not 0 <= _int(value, name) <= PRIORITY_MAX:
        raise _wrong(name, f"0 to {PRIORITY_MAX}", value)
    return _int(value, name)


def _unique(value: object, name: str) -> UniqueKey:
    if not isinstance(value, dict) or not value.keys() <= {"key", *UNIQUE}:
        raise _wrong(name, "a unique key", value)
    until, clash = value.get("until", "finished"), value.get("on_conflict", "existing")
    if until not in ("finished", "started", "time") or clash not in ("existing", "replace", "error"):
        raise _wrong(name, "a unique key of a kind that is known here", value)
    times = {part: _count(value[part], f"{name}.{part}") for part in ("ttl", "max_wait") if part in value}
    return UniqueKey(_text(value.get("key"), f"{name}.key"), until, clash, **times)


_BY_TYPE: Final[dict[str, Callable[[object, str], object]]] = {
    "str": _text, "str | None": _text, "int": _count, "int | None": _count,
    "bytes": _bytes, "bytes | None": _bytes, "tuple[bytes, ...]": _many(LOGS_KEPT),
    "State": _member(_state, "a state"), "Line | None": _member(Line, "a line"),
    "Retention | None": _member(_retention, 'a retention, as "1000/3600000"'), "UniqueKey | None": _unique,
}  # fmt: skip
_READERS: Final[dict[str, Callable[[object, str], object]]] = {f.name: _BY_TYPE[str(f.type)] for f in FIELDS} | {
    "queue": _named(names.queue_name),
    "id": _named(names.job_id),
    "task": _named(names.task_name),
    "priority": _priority,
    "place": _int,
    "errors": _many(ERRORS_KEPT),
    "keep": _member(_label, 'a retention, as "1000/3600000"'),
}
# A rev is the moment of a write, or one more than the rev before: near 2^53 another write of it would not be seen.
_SCHEDULE: Final[dict[str, Callable[[object, str], object]]] = {
    "queue": _named(names.queue_name), "id": _named(names.schedule_id), "definition": _bytes, "rev": _moment(1),
    "next": _moment(0), "fired": _count, "skipped": _count, "last_job": _text,
}  # fmt: skip
