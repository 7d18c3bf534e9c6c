"""The asynchronous driver port, over AsyncMongoClient: the twin of blocking.py, for one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pymongo
from bson.errors import InvalidBSON
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
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


class AsyncPort:
    """Over an AsyncMongoClient; belongs to the loop that first used it."""

    blocking = False

    def __init__(
        self, client: AsyncMongoClient[Document], database: str, names: Names, *, timeout: float, where: str, owns: bool
    ) -> None:
        self.client, self.names, self.timeout, self.where, self._owns = client, names, timeout, where, owns
        self._database: AsyncDatabase[Document] = client.get_database(database, **OPTIONS)
        self._watched = self._database.with_options(read_concern=ReadConcern("majority"))  # as change streams demand

    def _room(self, room: str) -> AsyncCollection[Document]:
        return self._database.get_collection(self.names.collection(room))

    @translated
    async def find(self, query: Find) -> list[Document]:
        async with self._room(query.room).find(
            query.filter, query.projection, sort=query.sort or None, limit=query.limit, hint=query.index,
            batch_size=max(query.limit, 1001),
        ) as cursor:  # fmt: skip
            return await cursor.to_list()

    @translated
    async def aggregate(self, pipe: Pipe) -> list[Document]:
        async with await self._room(pipe.room).aggregate(pipe.stages, hint=pipe.index) as cursor:
            return await cursor.to_list()

    @translated
    async def count(self, query: Find) -> int:
        more: dict[str, Any] = {"limit": query.limit} if query.limit else {}
        return await self._room(query.room).count_documents(query.filter, hint=query.index, **more)

    @translated
    async def insert(self, room: str, docs: Sequence[Document]) -> Done:
        try:
            return Done(met=len((await self._room(room).insert_many(docs, ordered=False)).inserted_ids))
        except BulkWriteError as error:
            return refused(error)

    @translated
    async def insert_whole(self, insertion: Insertion) -> None:
        room = self._room(insertion.room)
        async with self.client.start_session() as session, await session.start_transaction(write_concern=SAFE):
            if insertion.gate is not None:
                gate = insertion.gate
                await self._room(QUEUES).update_one(gate.filter, gate.update, upsert=gate.upsert, session=session)
                have = 0
                for full in insertion.full:
                    have += await room.count_documents(full.filter, hint=full.index, session=session)
                if have + len(insertion.docs) > insertion.size:
                    raise Full(have)
            await room.insert_many(insertion.docs, ordered=False, session=session)

    @translated
    async def bulk(self, room: str, writes: Sequence[Write]) -> Done:
        try:
            result = await self._room(room).bulk_write(statements(writes), ordered=False)
        except BulkWriteError as error:
            return refused(error)
        return Done(met=result.matched_count + result.upserted_count)

    @translated
    async def update(self, room: str, write: Write) -> Document | None:
        found: Document | None = await self._room(room).find_one_and_update(
            write.filter, write.update, upsert=write.upsert, return_document=pymongo.ReturnDocument.AFTER
        )
        return found

    @translated
    async def tally(self, room: str, write: Write) -> None:
        await (
            self._room(room)
            .with_options(write_concern=LIGHT)
            .update_one(write.filter, write.update, upsert=write.upsert)
        )

    @translated
    async def delete(self, room: str, filter: Document) -> int:
        return (await self._room(room).delete_many(filter)).deleted_count

    @translated
    async def command(self, command: Mapping[str, Any]) -> Document:
        return await self._database.command(dict(command))

    async def watch_once(self, stream: Stream) -> Document | None:
        """Open the stream where it is not, and answer at once; else the next change, or None after its slice."""
        try:
            with pymongo.timeout(stream.slice + self.timeout):
                if stream.cursor is None:
                    stream.cursor = await self._watched.watch(
                        list(stream.stages), max_await_time_ms=int(stream.slice * 1000)
                    )
                    return None
                found: Document | None = await stream.cursor.try_next()
                return found
        except (PyMongoError, InvalidBSON) as error:
            await self.stop_watching(stream)
            raise meaning(error, self.where) from error

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

    def monotonic(self) -> float:
        return clock.monotonic()

    async def close(self) -> None:
        if self._owns:
            await self.client.close()
