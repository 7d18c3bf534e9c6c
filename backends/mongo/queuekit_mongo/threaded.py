"""The asynchronous port over a blocking client of the application: each command in a thread.

Only for clients that were handed in (a MongoClient, or the one inside a Motor client): a hop costs about 0.1 ms beside
operations of one or two. Motor works the same way.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from queuekit.store.direct import direct
from queuekit_mongo.asynchronous import together
from queuekit_mongo.blocking import BlockingPort
from queuekit_mongo.commands import Done
from queuekit_mongo.documents import Document
from queuekit_mongo.port import SAFE, Commanding, Stream
from queuekit_mongo.statements import Find, Pipe, Write

R = TypeVar("R")
THREADS: Final = 16


class ThreadedPort(Commanding):
    """A BlockingPort that does not hold up the loop."""

    def __init__(self, inner: BlockingPort, threads: ThreadPoolExecutor | None = None) -> None:
        super().__init__(inner.names, timeout=inner.timeout, where=inner.where, session=inner.session)
        self._inner = inner
        self._threads = threads or ThreadPoolExecutor(THREADS, "queuekit-mongo")
        self._left: set[Future[Any]] = set()  # still at work for callers that went away

    async def run(self, command: Document, session: Any = None) -> Document:
        return await self._hop(lambda: direct(self._inner.run(command, session)))

    def of(self, session: Any) -> ThreadedPort | None:
        inner = self._inner.of(_inside(session))
        return None if inner is None else ThreadedPort(inner, self._threads)

    def within(self, session: Any) -> ThreadedPort:
        return ThreadedPort(self._inner.within(_inside(session)), self._threads)

    async def run_all(self, sent: Sequence[Document]) -> list[Document]:
        return await together([self.run(command) for command in sent])

    async def read_long(self, query: Find | Pipe) -> list[Document]:
        return await self._hop(lambda: direct(self._inner.read_long(query)))

    async def write_long(self, room: str, docs: Sequence[Document], writes: Sequence[Write]) -> Done:
        return await self._hop(lambda: direct(self._inner.write_long(room, docs, writes)))

    async def whole(self, work: Callable[[Any], Awaitable[None]]) -> None:
        session = self._inner.client.start_session()
        try:
            session.start_transaction(write_concern=SAFE)
            await work(session)
            await self._hop(session.commit_transaction)
        finally:
            await self._hop(session.end_session)  # aborts what was not committed

    async def watch_once(self, stream: Stream) -> Document | None:
        return await self._hop(lambda: direct(self._inner.watch_once(stream)))

    async def stop_watching(self, stream: Stream) -> None:
        await self._hop(lambda: direct(self._inner.stop_watching(stream)))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._inner.close()
        self._threads.shutdown(wait=False)

    def abandon(self) -> None:
        """`close` where the event loop has been closed. The client is the application's."""
        self._threads.shutdown(wait=False)

    async def _hop(self, call: Callable[[], R]) -> R:
        """Call in a thread, with the bounds of this context. A caller that is cancelled leaves its thread at work:
        whoever comes next waits for it, so that a call made again never runs beside its own past."""
        while self._left:
            await asyncio.wait([asyncio.wrap_future(left) for left in self._left])
        future = self._threads.submit(contextvars.copy_context().run, call)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel() and not future.done():
                self._left.add(future)
                future.add_done_callback(self._left.discard)
            raise


def _inside(session: Any) -> Any:
    """The driver's session inside one of Motor (`delegate`); anything else as it is."""
    module = type(session).__module__.partition(".")[0]
    return getattr(session, "delegate", session) if module == "motor" else session
