"""What the port is asked: reads and writes as values. What they say is written in queries.py, pages.py, removals.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from queuekit_mongo.collections import BY_ID
from queuekit_mongo.documents import Document

UP: Final = 1
DOWN: Final = -1
WAIT_ORDER: Final = ("queue", "part", "line", "priority", "place", "_id")  # the order of the index `line`
# Stands for "has a time": `$exists` would do for choosing a partial index, but then each document is fetched to see
# whether the key stands for null or for nothing, and no index can count or skip.
ANY_TIME: Final = {"$gte": 0}
TIME_ORDER: Final = ("queue", "part", "state", "at", "_id")  # and of `timer`


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """A read of whole documents, or of some fields."""

    room: str
    filter: Document
    index: str
    sort: tuple[tuple[str, int], ...] = ()
    limit: int = 0
    fields: tuple[str, ...] = ()  # only these
    without: tuple[str, ...] = ()  # or all but these

    @property
    def projection(self) -> dict[str, int] | None:
        if self.fields:
            return dict.fromkeys(self.fields, 1)
        return dict.fromkeys(self.without, 0) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A read through an aggregation."""

    room: str
    stages: list[Document]
    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One update statement; several ride in one command."""

    filter: Document
    update: Document | list[Document]
    index: str = BY_ID
    many: bool = False
    upsert: bool = False
    expects: int = 1  # documents it meets where nobody was faster
    sort: tuple[tuple[str, int], ...] = ()  # which of several is the one to change


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Candidates that one statement claims: documents alike in what the claim compares and removes."""

    line: int
    rev: int
    frees: bool  # gives a unique key back now
    expires: bool  # may not expire any more
    ids: list[str] = field(default_factory=list)


def literal(value: object) -> Document:
    """A value as it is, inside a pipeline: the only way in for what a user wrote (reliability.md 4.2)."""
    return {"$literal": value}


def ordered(*names: str, way: int = UP) -> tuple[tuple[str, int], ...]:
    """A sort by these fields."""
    return tuple((name, way) for name in names)


def under(prefix: str) -> dict[str, str]:
    """The range of `_id`s that start with `prefix` + "/"; "0" is the character behind "/"."""
    return {"$gte": f"{prefix}/", "$lt": f"{prefix}0"}
