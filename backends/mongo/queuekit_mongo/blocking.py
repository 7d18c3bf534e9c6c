"""The blocking driver port, over MongoClient: its methods are coroutines that never suspend. Shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pymongo
from bson.errors import InvalidBSON
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern

from queuekit import clock
from queuekit_mongo.collections import QUEUES, Names
from queuekit_mongo.port import (
    LIGHT,
    OPTIONS,
    SAFE,
    Document,
    Done,
    Full,
    Insertion,
    Stream,
    refused,
    statements,
    translated,
)
from queuekit_mongo.replies import meaning
from queuekit_mongo.statements import Find, Pipe, Write


class BlockingPort:
    """Over a MongoClient; its methods never suspend. Shared by threads."""

    blocking = True

    def __init__(
        self, client: MongoClient[Document], database: str, names: Names, *, timeout: float, where: str, owns: bool
    ) -> None:
        self.client, self.names, self.timeout, self.where, self._owns = client, names, timeout, where, owns
        self._database: Database[Document] = client.get_database(database, **OPTIONS)
        self._watched = self._database.with_options(read_concern=ReadConcern("majority"))  # as change streams demand
        self._bell = threading.Event()  # never rung: a sleep that needs no `time` module

    def _room(self, room: str) -> Collection[Document]:
        return self._database.get_collection(self.names.collection(room))

    @translated
    async def find(self, query: Find) -> list[Document]:
        with self._room(query.room).find(
            query.filter, query.projection, sort=query.sort or None, limit=query.limit, hint=query.index,
            batch_size=max(query.limit, 1001),
        ) as cursor:  # fmt: skip
            return cursor.to_list()

    @translated
    async def aggregate(self, pipe: Pipe) -> list[Document]:
        with self._room(pipe.room).aggregate(pipe.stages, hint=pipe.index) as cursor:
            return cursor.to_list()

    @translated
    async def count(self, query: Find) -> int:
        more: dict[str, Any] = {"limit": query.limit} if query.limit else {}
        return self._room(query.room).count_documents(query.filter, hint=query.index, **more)

    @translated
    async def insert(self, room: str, docs: Sequence[Document]) -> Done:
        try:
            return Done(met=len(self._room(room).insert_many(docs, ordered=False).inserted_ids))
        except BulkWriteError as error:
            return refused(error)

    @translated
    async def insert_whole(self, insertion: Insertion) -> None:
        room = self._room(insertion.room)
        with self.client.start_session() as session, session.start_transaction(write_concern=SAFE):
            if insertion.gate is not None:
                gate = insertion.gate
                self._room(QUEUES).update_one(gate.filter, gate.update, upsert=gate.upsert, session=session)
                have = 0
                for full in insertion.full:
                    have += room.count_documents(full.filter, hint=full.index, session=session)
                if have + len(insertion.docs) > insertion.size:
                    raise Full(have)
            room.insert_many(insertion.docs, ordered=False, session=session)

    @translated
    async def bulk(self, room: str, writes: Sequence[Write]) -> Done:
        try:
            result = self._room(room).bulk_write(statements(writes), ordered=False)
        except BulkWriteError as error:
            return refused(error)
        return Done(met=result.matched_count + result.upserted_count)

    @translated
    async def update(self, room: str, write: Write) -> Document | None:
        found: Document | None = self._room(room).find_one_and_update(
            write.filter, write.update, upsert=write.upsert, return_document=pymongo.ReturnDocument.AFTER
        )
        return found

    @translated
    async def tally(self, room: str, write: Write) -> None:
        self._room(room).with_options(write_concern=LIGHT).update_one(write.filter, write.update, upsert=write.upsert)

    @translated
    async def delete(self, room: str, filter: Document) -> int:
        return self._room(room).delete_many(filter).deleted_count

    @translated
    async def command(self, command: Mapping[str, Any]) -> Document:
        return self._database.command(dict(command))

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

    def monotonic(self) -> float:
        return clock.monotonic()

    async def close(self) -> None:
        if self._owns:
            self.client.close()
