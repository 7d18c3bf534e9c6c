"""The canonical record of a job: one JSON object on one line, and the digest that two stores are compared by.

docs/export.md tells the form to readers of other programs. Files and stores are not known here; `reading` goes back.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final

import orjson

from queuekit.domain.job import JobRecord, Retention, UniqueKey
from queuekit.domain.moving import Parcel
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import State

VERSION: Final = 1  # raised with every field that is added: an older reader must not drop it in silence

# What a store decides by itself: it differs on two sides that hold the same jobs.
APART: Final = frozenset({"queue", "place", "epoch", "lease_until"})
ALWAYS: Final = ("queue", "id", "task", "body", "state")
_MODULUS: Final = 2**256


def _from_bytes(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _from_many(value: tuple[bytes, ...]) -> object:
    return [_from_bytes(one) for one in value]


def _from_retention(value: Retention) -> object:
    return value.label


def _from_unique(value: UniqueKey) -> object:
    said: dict[str, object] = {"key": value.key}
    for name, default in UNIQUE.items():
        given = getattr(value, name)
        if given != default:
            said[name] = given
    return said


UNIQUE: Final = {f.name: f.default for f in sorted(fields(UniqueKey), key=lambda f: f.name) if f.default is not MISSING}
_WRITERS: Final[dict[str, Callable[[Any], object] | None]] = {
    "str": None, "str | None": None, "int": None, "int | None": None, "State": None, "Line | None": None,
    "bytes": _from_bytes, "bytes | None": _from_bytes, "tuple[bytes, ...]": _from_many,
    "Retention | None": _from_retention, "UniqueKey | None": _from_unique,
}  # fmt: skip
# Sorted, so that what is written is sorted. A field of a type that no writer knows fails at import.
FIELDS: Final = sorted(fields(JobRecord), key=lambda f: f.name)
_TABLE: Final = tuple((f.name, MISSING if f.name in ALWAYS else f.default, _WRITERS[str(f.type)]) for f in FIELDS)
_VALUES: Final = attrgetter(*(f.name for f in FIELDS))
_ALIKE: Final = tuple(row for row in _TABLE if row[0] not in APART)
_ALIKE_VALUES: Final = attrgetter(*(row[0] for row in _ALIKE))


def canonical(record: JobRecord) -> dict[str, object]:
    """The record as JSON types, keys sorted: the four that every job has, its state, and what is not the default."""
    return {
        name: value if write is None else write(value)
        for (name, default, write), value in zip(_TABLE, _VALUES(record), strict=True)
        if value != default
    }


def digest(record: JobRecord) -> bytes:
    """sha256 over the canonical line without queue, place, epoch and lease_until: alike wherever the job is.

    Neither a version nor what a Parcel adds goes in: a field that is not set changes nothing.
    """
    return sha256(
        _dumps(
            {
                name: value if write is None else write(value)
                for (name, default, write), value in zip(_ALIKE, _ALIKE_VALUES(record), strict=True)
                if value != default
            }
        )
    ).digest()


def dumps(parcel: Parcel) -> bytes:
    """The canonical line of a parcel, without a newline: its record, and awaited, holds, key_expires, v."""
    said = canonical(parcel.record)
    if parcel.awaited:
        said["awaited"] = True
    if parcel.holds:
        said["holds"] = True
    if parcel.key_expires is not None:
        said["key_expires"] = parcel.key_expires
    said["v"] = VERSION
    return _dumps(said, sort=True)


def schedule_said(record: ScheduleRecord) -> dict[str, object]:
    """A schedule as JSON types: queue, id, definition and rev always, the rest where it says something."""
    said: dict[str, object] = {
        "queue": record.queue, "id": record.id, "definition": _from_bytes(record.definition), "rev": record.rev,
    }  # fmt: skip
    rest = {name: getattr(record, name) for name in ("next", "fired", "skipped", "last_job")}
    return said | {name: value for name, value in rest.items() if value}


def schedule_digest(record: ScheduleRecord) -> bytes:
    """sha256 over all that is kept of a schedule but its queue: alike wherever it is."""
    return sha256(compact({name: value for name, value in schedule_said(record).items() if name != "queue"})).digest()


def compact(value: Mapping[str, object]) -> bytes:
    """Compact JSON with sorted keys, in UTF-8."""
    return _dumps(dict(value), sort=True)


def _dumps(value: dict[str, object], *, sort: bool = False) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort else None)
    except TypeError:  # a lone surrogate: written as the escape that JSON has for it
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort)
        return text.encode("utf-8", "backslashreplace")


@dataclass(slots=True)
class Digests:
    """How many jobs of each state there are, and the sum of their digests: the same in whatever order they come."""

    counts: dict[State, int] = field(default_factory=dict)
    sums: dict[State, int] = field(default_factory=dict)

    def add(self, record: JobRecord) -> bytes:
        """Count a job in; its digest."""
        own = digest(record)
        self.put(record.state, own)
        return own

    def put(self, state: State, own: bytes) -> None:
        """Count a job in whose digest is known."""
        self.counts[state] = self.counts.get(state, 0) + 1
        self.sums[state] = (self.sums.get(state, 0) + int.from_bytes(own)) % _MODULUS

    def take(self, state: State, own: bytes) -> None:
        """Count a job out again."""
        self.counts[state] = self.counts.get(state, 0) - 1
        self.sums[state] = (self.sums.get(state, 0) - int.from_bytes(own)) % _MODULUS

    def merge(self, others: Iterable[Digests]) -> Digests:
        """This one, with the jobs of the others counted in."""
        for other in others:
            for state, n in other.counts.items():
                self.counts[state] = self.counts.get(state, 0) + n
                self.sums[state] = (self.sums.get(state, 0) + other.sums[state]) % _MODULUS
        return self

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def hex(self) -> str:
        """The sum over all states."""
        return _hex(sum(self.sums.values()) % _MODULUS)

    def as_dict(self) -> dict[str, dict[str, object]]:
        """By state, in the order of `State`: {"count": n, "digest": hex}."""
        return {s.value: {"count": self.counts[s], "digest": _hex(self.sums[s])} for s in State if self.counts.get(s)}

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == other.as_dict() if isinstance(other, Digests) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes


def _hex(value: int) -> str:
    return f"{value:064x}"
