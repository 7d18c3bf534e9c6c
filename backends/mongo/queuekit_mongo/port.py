"""The driver port: what store code may await, and what its two forms (blocking.py, asynchronous.py) share.

Every operation goes to the primary, is bounded by `timeout`, writes with w: majority and j: true, and answers driver
errors by meaning. Nothing is repeated here beyond what the driver does by itself, on which nothing relies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeAlias, TypeVar

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from pymongo import ReadPreference, UpdateMany, UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern

from queuekit_mongo.collections import Names
from queuekit_mongo.replies import DUPLICATE, TOO_LARGE, meaning, write_errors
from queuekit_mongo.statements import Find, Pipe, Write

P = ParamSpec("P")
R = TypeVar("R")
Document: TypeAlias = dict[str, Any]
SAFE: Final = WriteConcern("majority", j=True)
LIGHT: Final = WriteConcern(1)  # statistics only
_CODEC: Final[CodecOptions[Document]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
OPTIONS: Final[dict[str, Any]] = {
    "codec_options": _CODEC, "read_preference": ReadPreference.PRIMARY, "write_concern": SAFE,
    "read_concern": ReadConcern("local"),
}  # fmt: skip


@dataclass(slots=True)
class Done:
    """What a command of several statements did: documents met, and the statements refused by their index."""

    met: int = 0
    duplicates: tuple[int, ...] = ()
    too_large: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """One transaction that adds jobs: all of them, or none and the reason."""

    room: str
    docs: Sequence[Document]
    gate: Write | None = None  # touched first, so that two of them cannot pass side by side
    full: Sequence[Find] = ()  # counted then
    size: int = 0  # what it may count with the new ones


class Full(Exception):
    """An insertion would have gone over its size; nothing was written."""

    def __init__(self, have: int) -> None:
        super().__init__(have)
        self.have = have


class MongoPort(Protocol):
    """What both ports can."""

    names: Names
    where: str

    @property
    def blocking(self) -> bool: ...
    async def find(self, query: Find) -> list[Document]: ...
    async def aggregate(self, pipe: Pipe) -> list[Document]: ...
    async def count(self, query: Find) -> int: ...
    async def insert(self, room: str, docs: Sequence[Document]) -> Done: ...
    async def insert_whole(self, insertion: Insertion) -> None: ...
    async def bulk(self, room: str, writes: Sequence[Write]) -> Done: ...
    async def update(self, room: str, write: Write) -> Document | None: ...
    async def tally(self, room: str, write: Write) -> None: ...
    async def delete(self, room: str, filter: Document) -> int: ...
    async def command(self, command: Mapping[str, Any]) -> Document: ...
    async def watch_once(self, stream: Stream) -> Document | None: ...
    async def stop_watching(self, stream: Stream) -> None: ...
    async def sleep(self, seconds: float) -> None: ...
    def monotonic(self) -> float: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class Stream:
    """A change stream on the database: its pipeline, and the driver's cursor once it is open."""

    stages: Sequence[Mapping[str, Any]]
    slice: float  # seconds it waits at the server at a time
    cursor: Any = None


Method: TypeAlias = Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]


def translated(method: Method[P, R]) -> Method[P, R]:
    """Bound a port method by the port's timeout and answer driver errors by meaning."""

    @functools.wraps(method)
    async def bounded(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with pymongo.timeout(self.timeout):
                return await method(self, *args, **kwargs)
        except (PyMongoError, InvalidBSON) as error:
            raise meaning(error, self.where) from error

    return bounded  # type: ignore[return-value]  # wraps() names `self`, which Concatenate leaves without a name


def statements(writes: Sequence[Write]) -> list[UpdateOne | UpdateMany]:
    return [
        (UpdateMany if w.many else UpdateOne)(w.filter, w.update, upsert=w.upsert, hint=None if w.upsert else w.index)
        for w in writes
    ]


def refused(error: BulkWriteError) -> Done:
    """What an unordered command did besides statements refused one by one. Raises where more went wrong."""
    details: Mapping[str, Any] = error.details or {}
    errors = write_errors(error)
    if details.get("writeConcernErrors") or any(e["code"] not in (DUPLICATE, *TOO_LARGE) for e in errors):
        raise error
    met = details.get("nMatched", 0) + details.get("nInserted", 0) + details.get("nUpserted", 0)
    return Done(
        met=met,
        duplicates=tuple(e["index"] for e in errors if e["code"] == DUPLICATE),
        too_large=tuple(e["index"] for e in errors if e["code"] in TOO_LARGE),
    )
