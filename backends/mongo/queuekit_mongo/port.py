"""The driver port: what store code may await, and what its forms (blocking.py, asynchronous.py, threaded.py) share.

Every operation goes to the primary, is bounded by `timeout`, writes with w: majority and j: true, and answers driver
errors by meaning. Nothing is repeated, neither here nor by the driver.
"""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from pymongo import ReadPreference, UpdateMany, UpdateOne, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from queuekit import clock
from queuekit.errors import PayloadTooLarge
from queuekit_mongo import commands
from queuekit_mongo.collections import QUEUES, Names
from queuekit_mongo.commands import Done
from queuekit_mongo.documents import Document
from queuekit_mongo.replies import Contended, Duplicate, meaning
from queuekit_mongo.statements import Find, Pipe, Write

P = ParamSpec("P")
R = TypeVar("R")
CODEC: Final[CodecOptions[Document]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
SAFE: Final = WriteConcern("majority", j=True)
OPTIONS: Final[dict[str, Any]] = {
    "codec_options": CODEC, "read_preference": ReadPreference.PRIMARY, "write_concern": SAFE,
    "read_concern": ReadConcern("local"),
}  # fmt: skip
WATCHED: Final = ReadConcern("majority")  # as change streams demand
HEAVY: Final = 16 * 1024 * 1024  # bytes of users in one command; over it the driver cuts it, a message holds 48 MB


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


@dataclass(slots=True)
class Stream:
    """A change stream on the database: its pipeline, and the driver's cursor once it is open."""

    stages: Sequence[Mapping[str, Any]]
    slice: float  # seconds it waits at the server at a time
    cursor: Any = None


Work: TypeAlias = "Callable[[MongoPort], Awaitable[R]]"  # what is done in one transaction, over a port in it


class MongoPort(Protocol):
    """What all forms can."""

    names: Names
    where: str

    @property
    def blocking(self) -> bool: ...
    def of(self, session: Any) -> MongoPort | None: ...
    def within(self, session: Any) -> MongoPort: ...
    async def find(self, query: Find) -> list[Document]: ...
    async def aggregate(self, pipe: Pipe) -> list[Document]: ...
    async def count(self, query: Find) -> int: ...
    async def insert(self, room: str, docs: Sequence[Document]) -> Done: ...
    async def insert_whole(self, insertion: Insertion) -> None: ...
    async def merge(self, room: str, docs: Sequence[Document], into: Write) -> None: ...
    async def joined(self, work: Work[R], tell: Callable[[Any], Awaitable[None]] | None = None) -> R: ...
    async def first(self, query: Find | Pipe) -> tuple[list[Document], bool]: ...
    async def bulk(self, room: str, writes: Sequence[Write], apart: int = 0) -> Done: ...
    async def update(self, room: str, write: Write) -> Document | None: ...
    async def tally(self, room: str, write: Write) -> None: ...
    async def delete(self, room: str, filter: Document) -> int: ...
    async def command(self, command: Mapping[str, Any]) -> Document: ...
    async def watch_once(self, stream: Stream) -> Document | None: ...
    async def stop_watching(self, stream: Stream) -> None: ...
    async def sleep(self, seconds: float) -> None: ...
    def monotonic(self) -> float: ...
    async def close(self) -> None: ...
    def abandon(self) -> None: ...


Method: TypeAlias = Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]


def translated(method: Method[P, R]) -> Method[P, R]:
    """Bound a port method by the port's timeout and answer driver errors by meaning. In a caller's transaction his own
    bounds hold, and errors stay the driver's: its labels tell who repeats the transaction what to do.

    `wait_for` of Python 3.11, in the driver, may pass over that its task was cancelled: who was must not go on.
    """

    @functools.wraps(method)
    async def bounded(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.session is not None:
            return await method(self, *args, **kwargs)
        before = 0 if self.blocking else cancels()
        try:
            with pymongo.timeout(self.timeout):
                answer = await method(self, *args, **kwargs)
        except (PyMongoError, InvalidBSON) as error:
            if not self.blocking and cancels() > before:
                raise asyncio.CancelledError from error
            raise meaning(error, self.where) from error
        if not self.blocking and cancels() > before:
            raise asyncio.CancelledError
        return answer

    return bounded  # type: ignore[return-value]  # wraps() names `self`, which Concatenate leaves without a name


def cancels() -> int:
    """How often somebody asked the running task to stop."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


class Commanding(ABC):
    """The operations, over the few of the driver that a form of the port adds."""

    blocking = False

    def __init__(self, names: Names, *, timeout: float, where: str, session: Any = None) -> None:
        self.names, self.timeout, self.where = names, timeout, where
        self.session = session  # a caller's own, in whose transaction all of this happens
        self.concern = commands.SAFE if session is None else None

    @abstractmethod
    def of(self, session: Any) -> Commanding | None:
        """A port to the same database over the client of a caller's session, without the session; None for no session
        of this port's kind."""

    @abstractmethod
    def within(self, session: Any) -> Commanding:
        """The same, in the session."""

    @abstractmethod
    async def run(self, command: Document, session: Any = None) -> Document:
        """One command to the primary, and its answer as it is."""

    async def run_all(self, sent: Sequence[Document]) -> list[Document]:
        """Commands at the same time, as far as the driver can; their answers, or one error for all."""
        return [await self.run(command) for command in sent]

    @abstractmethod
    async def read_long(self, query: Find | Pipe) -> list[Document]:
        """A read whose answer is more than one message holds."""

    @abstractmethod
    async def write_long(self, room: str, docs: Sequence[Document], writes: Sequence[Write]) -> Done:
        """An insert, or updates, that are more than one message holds."""

    @abstractmethod
    async def whole(self, work: Callable[[Any], Awaitable[None]]) -> None:
        """Do `work(session)` in a transaction."""

    @translated
    async def find(self, query: Find) -> list[Document]:
        found = commands.documents_of(await self.run(commands.find(self._named(query.room), query)))
        return await self.read_long(query) if found is None else found

    @translated
    async def aggregate(self, pipe: Pipe) -> list[Document]:
        found = commands.documents_of(await self.run(commands.aggregate(self._named(pipe.room), pipe)))
        return await self.read_long(pipe) if found is None else found

    @translated
    async def count(self, query: Find) -> int:
        return commands.counted(await self.run(commands.count(self._named(query.room), query)))

    @translated
    async def insert(self, room: str, docs: Sequence[Document]) -> Done:
        if sum(len(doc.get("body", b"")) for doc in docs) > HEAVY:
            return await self.write_long(room, docs, ())
        return commands.done(await self.run(commands.insert(self._named(room), docs, self.concern)))

    @translated
    async def insert_whole(self, insertion: Insertion) -> None:
        jobs = self._named(insertion.room)

        async def work(session: Any) -> None:
            if insertion.gate is not None:
                commands.done(await self.run(commands.update(self._named(QUEUES), [insertion.gate], None), session))
                have = 0
                for full in insertion.full:
                    have += commands.counted(await self.run(commands.count(jobs, full), session))
                if have + len(insertion.docs) > insertion.size:
                    raise Full(have)
            done = commands.done(await self.run(commands.insert(jobs, insertion.docs, None), session))
            if done.duplicates:
                raise Duplicate(f"MongoDB at {self.where}: an id or a unique key is there already")
            if done.too_large:
                raise PayloadTooLarge("the document of a job would be over 16 MiB")

        await self.whole(work)

    @translated
    async def merge(self, room: str, docs: Sequence[Document], into: Write) -> None:
        """One transaction: remove all of these, and write another. Contended where one is not as it was read."""
        jobs = self._named(room)

        async def work(session: Any) -> None:
            gone = commands.done(await self.run(commands.delete(jobs, {"$or": list(docs)}, None), session))
            if gone.met != len(docs):
                raise Contended(f"MongoDB at {self.where}: another call changed or merged these already")
            commands.done(await self.run(commands.update(jobs, [into], None), session))

        await self.whole(work)

    @translated
    async def joined(self, work: Work[R], tell: Callable[[Any], Awaitable[None]] | None = None) -> R:
        """What `work` does, in one transaction. Errors of the driver in it are told by meaning here.

        `tell` is told the session's id before the transaction's first command, and writes outside of it.
        """
        answers: list[R] = []

        async def inside(session: Any) -> None:
            if tell is not None:
                await tell(session.session_id["id"])
            answers.append(await work(cast("MongoPort", self.within(session))))

        await self.whole(inside)
        return answers[-1]

    @translated
    async def first(self, query: Find | Pipe) -> tuple[list[Document], bool]:
        """What one message holds of a read, and whether that is all."""
        named = self._named(query.room)
        command = commands.find(named, query) if isinstance(query, Find) else commands.aggregate(named, query)
        cursor = (await self.run(command))["cursor"]
        if cursor["id"]:
            await self.run({"killCursors": self._named(query.room), "cursors": [cursor["id"]]})
        return cursor["firstBatch"], not cursor["id"]

    @translated
    async def bulk(self, room: str, writes: Sequence[Write], apart: int = 0) -> Done:
        """One command; or two side by side, cut at `apart`, where the driver can: each has a core of the server."""
        if _weight(writes) > HEAVY:
            return await self.write_long(room, (), writes)
        halves = [writes[:apart], writes[apart:]] if apart and not self.blocking else [writes]
        replies = await self.run_all([commands.update(self._named(room), half, self.concern) for half in halves])
        first, *others = map(commands.done, replies)
        for other in others:
            first.met += other.met
        return first

    @translated
    async def update(self, room: str, write: Write) -> Document | None:
        return commands.modified(await self.run(commands.modify(self._named(room), write, self.concern)))

    @translated
    async def tally(self, room: str, write: Write) -> None:
        concern = None if self.concern is None else commands.LIGHT
        commands.done(await self.run(commands.update(self._named(room), [write], concern)))

    @translated
    async def delete(self, room: str, filter: Document) -> int:
        return commands.done(await self.run(commands.delete(self._named(room), filter, self.concern))).met

    @translated
    async def command(self, command: Mapping[str, Any]) -> Document:
        return await self.run(dict(command))

    def monotonic(self) -> float:
        return clock.monotonic()

    def abandon(self) -> None:
        """`close` where the event loop has been closed, for a form that needs one."""
        return

    def _named(self, room: str) -> str:
        return self.names.collection(room)


def statements(writes: Sequence[Write]) -> list[UpdateOne | UpdateMany]:
    """Writes as the driver's collections take them."""
    return [
        (UpdateMany if w.many else UpdateOne)(w.filter, w.update, upsert=w.upsert, hint=None if w.upsert else w.index)
        for w in writes
    ]


def _weight(writes: Sequence[Write]) -> int:
    """About how many bytes of users a command would carry."""
    parts = [part for write in writes if isinstance(write.update, dict) for part in write.update.values()]
    return sum(_bytes(value) for part in parts for value in part.values())


def _bytes(value: object) -> int:
    if type(value) is bytes:
        return len(value)
    return sum(map(len, value.get("$each", ()))) if type(value) is dict else 0
