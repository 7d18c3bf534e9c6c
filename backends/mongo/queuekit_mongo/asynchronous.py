"""The asynchronous driver port, over AsyncMongoClient: the twin of blocking.py, for one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import pymongo
from bson.errors import InvalidBSON
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from queuekit.store.direct import close_without_loop
from queuekit_mongo.collections import Names
from queuekit_mongo.commands import Done, done_by_driver
from queuekit_mongo.documents import Document
from queuekit_mongo.port import CODEC, OPTIONS, SAFE, WATCHED, Commanding, Stream, cancels, statements
from queuekit_mongo.replies import meaning
from queuekit_mongo.statements import Find, Pipe, Write

R = TypeVar("R")
DEPTH: Final = 32  # more than there are awaits in what a coroutine of the driver does when it is closed
NEVER_SENT: Final = (ServerSelectionTimeoutError, WaitQueueTimeoutError)


class AsyncPort(Commanding):
    """Over an AsyncMongoClient; belongs to the loop that first used it."""

    def __init__(
        self, client: AsyncMongoClient[Document], database: str, names: Names, *, timeout: float, where: str,
        owns: bool = False, session: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(names, timeout=timeout, where=where, session=session)
        self.client, self._owns = client, owns
        self._database: AsyncDatabase[Document] = client.get_database(database, **OPTIONS)
        self._watched = self._database.with_options(read_concern=WATCHED)
        # The driver drops it in a forked child, where its transports would then be taken from the parent's loop.
        self._kept = getattr(client, "_topology", None) if owns else None

    async def run(self, command: Document, session: Any = None) -> Document:
        return await self._database.command(command, codec_options=CODEC, session=session or self.session)

    def of(self, session: Any) -> AsyncPort | None:
        return self._over(session, None) if isinstance(session, AsyncClientSession) else None

    def within(self, session: Any) -> AsyncPort:
        return self._over(session, session)

    def _over(self, session: Any, joined: Any) -> AsyncPort:
        return AsyncPort(
            session.client, self._database.name, self.names, timeout=self.timeout, where=self.where, session=joined
        )

    async def run_all(self, sent: Sequence[Document]) -> list[Document]:
        return await together([self.run(command) for command in sent])

    async def read_long(self, query: Find | Pipe) -> list[Document]:
        if isinstance(query, Pipe):
            async with await self._room(query.room).aggregate(
                query.stages, hint=query.index, session=self.session
            ) as answers:
                return await answers.to_list()
        async with self._room(query.room).find(
            query.filter,
            query.projection,
            sort=query.sort or None,
            limit=query.limit,
            hint=query.index,
            session=self.session,
        ) as cursor:
            return await cursor.to_list()

    async def write_long(self, room: str, docs: Sequence[Document], writes: Sequence[Write]) -> Done:
        try:
            if docs:
                return Done(
                    met=len(
                        (await self._room(room).insert_many(docs, ordered=False, session=self.session)).inserted_ids
                    )
                )
            result = await self._room(room).bulk_write(statements(writes), ordered=False, session=self.session)
        except BulkWriteError as error:
            return done_by_driver(error)
        return Done(met=result.matched_count + result.upserted_count)

    async def whole(self, work: Callable[[Any], Awaitable[None]]) -> None:
        async with self.client.start_session() as session, await session.start_transaction(write_concern=SAFE):
            await work(session)

    async def watch_once(self, stream: Stream) -> Document | None:
        """Open the stream where it is not, and answer at once; else the next change, or None after its slice."""
        before = cancels()
        found: Document | None = None
        try:
            with pymongo.timeout(stream.slice + self.timeout):
                if stream.cursor is None:
                    most = int(stream.slice * 1000)
                    stream.cursor = await self._watched.watch(list(stream.stages), max_await_time_ms=most)
                else:
                    found = await stream.cursor.try_next()
        except (PyMongoError, InvalidBSON) as error:
            await self.stop_watching(stream)
            raise meaning(error, self.where) from error
        if cancels() > before:
            raise asyncio.CancelledError  # `wait_for` of Python 3.11, in the driver, may pass one over
        return found

    async def stop_watching(self, stream: Stream) -> None:
        cursor, stream.cursor = stream.cursor, None
        if cursor is not None:
            try:
                with pymongo.timeout(self.timeout):
                    await cursor.close()
            except PyMongoError:
                return  # the server forgets the cursor by itself

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        if self._owns:
            await self.client.close()

    def abandon(self) -> None:
        if self._owns:
            _end(self.client)

    def _room(self, room: str) -> AsyncCollection[Document]:
        return self._database.get_collection(self.names.collection(room))


async def together(calls: Sequence[Coroutine[Any, Any, R]]) -> list[R]:
    """All of them, each to its end. One that never reached the server tells nothing of another that did."""
    if len(calls) == 1:
        return [await calls[0]]
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    errors = [error for error in (task.exception() for task in tasks) if error is not None]
    for error in errors:
        if not isinstance(error, NEVER_SENT):
            raise error
    if len(errors) == len(tasks):
        raise errors[0]
    if errors:
        raise AutoReconnect(str(errors[0])) from errors[0]
    return [task.result() for task in tasks]


def _end(client: Any) -> None:
    """Close the sockets of a client whose loop was closed, and let its tasks and monitors go without a word.

    `close` needs the loop. A private name that is gone one day costs a warning, not a socket: those are found by the
    loop, because those of monitors are in no pool. On a closed loop nobody else can use them either.
    """
    loop = getattr(client, "_loop", None)
    if loop is None or not loop.is_closed():
        return
    client._closed = True  # noqa: SLF001  else its finalizer says that it was left open
    for task in asyncio.all_tasks(loop):
        coroutine: Any = task.get_coro()
        if _of_driver(coroutine):
            setattr(task, "_log_destroy_pending", False)  # noqa: B010  asyncio's own way, which no type names
            _unwind(coroutine)
    for transport in list(getattr(loop, "_transports", {}).values()):
        protocol = transport.get_protocol()
        if type(getattr(protocol, "_app_protocol", protocol)).__module__.startswith("pymongo."):
            close_without_loop(transport)
    with suppress(AttributeError):
        for executor in _executors(client):
            executor._task = None  # noqa: SLF001  else it is cancelled, on the closed loop, when the client goes


def _of_driver(coroutine: Any) -> bool:
    code = getattr(coroutine, "cr_code", None)
    return code is not None and "/pymongo/" in code.co_filename.replace("\\", "/")


def _unwind(coroutine: Any) -> None:
    """Close a coroutine that awaits while it is being closed, as often as it does: each time one more of its layers."""
    for _ in range(DEPTH):
        try:
            coroutine.close()
        except Exception:  # noqa: BLE001  "ignored GeneratorExit", or what the driver meets without its loop
            continue
        return


def _executors(client: Any) -> Iterator[Any]:
    """What runs the driver's tasks."""
    yield client._kill_cursors_executor  # noqa: SLF001
    for server in client._topology._servers.values():  # noqa: SLF001
        monitor = server._monitor  # noqa: SLF001
        yield monitor._executor  # noqa: SLF001
        yield monitor._rtt_monitor._executor  # noqa: SLF001
