"""The blocking driver port, over MongoClient: its methods are coroutines that never suspend. Shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pymongo
from bson.errors import InvalidBSON
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from queuekit_mongo.collections import Names
from queuekit_mongo.commands import Done, done_by_driver
from queuekit_mongo.documents import Document
from queuekit_mongo.port import CODEC, OPTIONS, SAFE, WATCHED, Commanding, Stream, statements
from queuekit_mongo.replies import meaning
from queuekit_mongo.statements import Find, Pipe, Write


class BlockingPort(Commanding):
    """Over a MongoClient; its methods never suspend. Shared by threads."""

    blocking = True

    def __init__(
        self, client: MongoClient[Document], database: str, names: Names, *, timeout: float, where: str,
        owns: bool = False, session: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(names, timeout=timeout, where=where, session=session)
        self.client, self._owns = client, owns
        self._database: Database[Document] = client.get_database(database, **OPTIONS)
        self._watched = self._database.with_options(read_concern=WATCHED)
        self._bell = threading.Event()  # never rung: a sleep that needs no `time` module

    async def run(self, command: Document, session: Any = None) -> Document:
        return self._database.command(command, codec_options=CODEC, session=session or self.session)

    def of(self, session: Any) -> BlockingPort | None:
        return self._over(session, None) if isinstance(session, ClientSession) else None

    def within(self, session: Any) -> BlockingPort:
        return self._over(session, session)

    def _over(self, session: Any, joined: Any) -> BlockingPort:
        return BlockingPort(
            session.client, self._database.name, self.names, timeout=self.timeout, where=self.where, session=joined
        )

    async def read_long(self, query: Find | Pipe) -> list[Document]:
        if isinstance(query, Pipe):
            with self._room(query.room).aggregate(query.stages, hint=query.index, session=self.session) as answers:
                return answers.to_list()
        with self._room(query.room).find(
            query.filter,
            query.projection,
            sort=query.sort or None,
            limit=query.limit,
            hint=query.index,
            session=self.session,
        ) as cursor:
            return cursor.to_list()

    async def write_long(self, room: str, docs: Sequence[Document], writes: Sequence[Write]) -> Done:
        try:
            if docs:
                return Done(
                    met=len(self._room(room).insert_many(docs, ordered=False, session=self.session).inserted_ids)
                )
            result = self._room(room).bulk_write(statements(writes), ordered=False, session=self.session)
        except BulkWriteError as error:
            return done_by_driver(error)
        return Done(met=result.matched_count + result.upserted_count)

    async def whole(self, work: Callable[[Any], Awaitable[None]]) -> None:
        with self.client.start_session() as session, session.start_transaction(write_concern=SAFE):
            await work(session)

    async def watch_once(self, stream: Stream) -> Document | None:
        """Open the stream where it is not, and answer at once; else the next change, or None after its slice."""
        try:
            with pymongo.timeout(stream.slice + self.timeout):
                if stream.cursor is None:
                    most = int(stream.slice * 1000)
                    stream.cursor = self._watched.watch(list(stream.stages), max_await_time_ms=most)
                    return None
                found: Document | None = stream.cursor.try_next()
                return found
        except (PyMongoError, InvalidBSON) as error:
            await self.stop_watching(stream)
            raise meaning(error, self.where) from error

    async def stop_watching(self, stream: Stream) -> None:
        cursor, stream.cursor = stream.cursor, None
        if cursor is not None:
            try:
                with pymongo.timeout(self.timeout):
                    cursor.close()
            except PyMongoError:
                return  # the server forgets the cursor by itself

    async def sleep(self, seconds: float) -> None:
        self._bell.wait(seconds)

    async def close(self) -> None:
        if self._owns:
            self.client.close()

    def _room(self, room: str) -> Collection[Document]:
        return self._database.get_collection(self.names.collection(room))
