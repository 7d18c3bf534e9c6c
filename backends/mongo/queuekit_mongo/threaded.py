"""The asynchronous port over a blocking client of the application: each operation in a thread.

Only for clients that were handed in (a MongoClient, or the one inside a Motor client): a hop costs about 0.1 ms beside
operations of one or two. Motor works the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from queuekit.store.direct import direct
from queuekit_mongo.blocking import BlockingPort
from queuekit_mongo.port import Document, Done, Insertion, Stream
from queuekit_mongo.statements import Find, Pipe, Write

R = TypeVar("R")
THREADS: Final = 16


class ThreadedPort:
    """A BlockingPort that does not hold up the loop."""

    blocking = False

    def __init__(self, inner: BlockingPort) -> None:
        self._inner, self.names, self.where = inner, inner.names, inner.where
        self._threads = ThreadPoolExecutor(THREADS, "queuekit-mongo")

    async def _run(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: direct(call()))

    async def find(self, query: Find) -> list[Document]:
        return await self._run(lambda: self._inner.find(query))

    async def aggregate(self, pipe: Pipe) -> list[Document]:
        return await self._run(lambda: self._inner.aggregate(pipe))

    async def count(self, query: Find) -> int:
        return await self._run(lambda: self._inner.count(query))

    async def insert(self, room: str, docs: Sequence[Document]) -> Done:
        return await self._run(lambda: self._inner.insert(room, docs))

    async def insert_whole(self, insertion: Insertion) -> None:
        await self._run(lambda: self._inner.insert_whole(insertion))

    async def bulk(self, room: str, writes: Sequence[Write]) -> Done:
        return await self._run(lambda: self._inner.bulk(room, writes))

    async def update(self, room: str, write: Write) -> Document | None:
        return await self._run(lambda: self._inner.update(room, write))

    async def tally(self, room: str, write: Write) -> None:
        await self._run(lambda: self._inner.tally(room, write))

    async def delete(self, room: str, filter: Document) -> int:
        return await self._run(lambda: self._inner.delete(room, filter))

    async def command(self, command: Mapping[str, Any]) -> Document:
        return await self._run(lambda: self._inner.command(command))

    async def watch_once(self, stream: Stream) -> Document | None:
        return await self._run(lambda: self._inner.watch_once(stream))

    async def stop_watching(self, stream: Stream) -> None:
        await self._run(lambda: self._inner.stop_watching(stream))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def monotonic(self) -> float:
        return self._inner.monotonic()

    async def close(self) -> None:
        await self._inner.close()
        self._threads.shutdown(wait=False)
