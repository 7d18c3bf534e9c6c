"""How an idle consumer is woken: change streams on a replica set, polling where there are none.

A stream is kept while its caller comes back within a second; after longer it would only tell what is long done, so
it is dropped and a new one opened. Whoever opens one looks for work first: what came before it is in no stream.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from queuekit_mongo.collections import JOBS, QUEUES, SCHEDULES, Names, after_slash
from queuekit_mongo.port import MongoPort, Stream
from queuekit_mongo.replies import StreamLost

POLL: Final = 0.2  # seconds between two looks where there are no change streams
SLICES: Final = (5.0, 1.0, 0.2)  # seconds a change stream waits at the server at a time, each a command of an idle
# consumer; the longest that its caller has patience for
FRESH: Final = 1.0  # seconds for which an unused stream is worth keeping
IDLE_MAX: Final = 8  # unused streams kept by one store


@dataclass(slots=True)
class Kept:
    """A stream nobody uses just now."""

    key: object
    stream: Stream
    since: float


class Listeners:
    """The change streams of one store. Each is used by one caller at a time."""

    def __init__(self, port: MongoPort, names: Names) -> None:
        self._port, self._names = port, names
        self._kept: list[Kept] = []
        self._lock = threading.Lock()

    async def work(self, queues: Sequence[str], timeout: float, look: Callable[[], Awaitable[list[str]]]) -> list[str]:
        """Queues in which something may be to do, or [] after `timeout` seconds. `look` asks the documents."""
        keys = {self._names.queue(queue): queue for queue in queues}
        found = await self._next(("work", tuple(queues)), work_stages(self._names, queues), timeout, look)
        if isinstance(found, list):
            return found
        return [queue for queue in [keys.get(_queue_of(found))] if queue is not None] or list(queues)

    async def ended(self, key: str, timeout: float, look: Callable[[], Awaitable[list[Any]]]) -> None:
        """Return when the job behind `key` changed in a way that may end it, or after `timeout` seconds."""
        await self._next(("job", key), job_stages(self._names, key), timeout, look)

    async def _next(
        self, key: object, stages: list[dict[str, Any]], timeout: float, look: Callable[[], Awaitable[list[Any]]]
    ) -> Any:
        """The next change, what `look` found when the stream was new, or []."""
        deadline = self._port.monotonic() + timeout
        slice_ = next((slice_ for slice_ in SLICES if timeout >= slice_), SLICES[-1])
        while True:
            stream, fresh = self._take((key, slice_), stages, slice_)
            try:
                if fresh:
                    await self._port.watch_once(stream)
                    seen = await look()
                    if seen:
                        return seen
                while self._port.monotonic() < deadline:
                    change = await self._port.watch_once(stream)
                    if change is not None:
                        return change
                return []
            except StreamLost:
                if self._port.monotonic() >= deadline:
                    return []
            except BaseException:
                await self._port.stop_watching(stream)
                raise
            finally:
                await self._keep((key, slice_), stream)

    def _take(self, key: object, stages: list[dict[str, Any]], slice_: float) -> tuple[Stream, bool]:
        moment = self._port.monotonic()
        with self._lock:
            for kept in self._kept:
                if kept.key == key and moment - kept.since <= FRESH:
                    self._kept.remove(kept)
                    return kept.stream, False
        return Stream(stages, slice_), True

    async def _keep(self, key: object, stream: Stream) -> None:
        moment = self._port.monotonic()
        with self._lock:
            if stream.cursor is not None:
                self._kept.append(Kept(key, stream, moment))
            old = [kept for kept in self._kept if moment - kept.since > FRESH]
            old += [kept for kept in self._kept if kept not in old][:-IDLE_MAX]
            self._kept = [kept for kept in self._kept if kept not in old]
        for kept in old:
            await self._port.stop_watching(kept.stream)

    async def close(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, []
        for one in kept:
            await self._port.stop_watching(one.stream)


def work_stages(names: Names, queues: Sequence[str]) -> list[dict[str, Any]]:
    """What may give a consumer work: jobs inserted, jobs put on a line, schedules put, a configuration changed."""
    keys = [names.queue(queue) for queue in queues]
    jobs = "|".join(re.escape(key) for key in keys)
    return [
        {
            "$match": {
                "$or": [
                    {
                        "ns.coll": names.collection(JOBS),
                        "operationType": "insert",
                        "fullDocument.queue": {"$in": keys},
                    },
                    {
                        "ns.coll": names.collection(JOBS),
                        "operationType": "update",
                        "documentKey._id": {"$regex": f"^(?:{jobs})/"},
                        "$or": [
                            {"updateDescription.updatedFields.line": {"$exists": True}},
                            {"updateDescription.updatedFields.run_at": {"$exists": True}},
                        ],
                    },
                    {
                        "ns.coll": names.collection(SCHEDULES),
                        "documentKey._id": {"$regex": f"^(?:{jobs})/"},
                        "$or": [
                            {"operationType": "insert"},
                            {"updateDescription.updatedFields.put": {"$exists": True}},
                        ],
                    },
                    {
                        "ns.coll": names.collection(QUEUES),
                        "documentKey._id": {"$in": keys},
                        "$or": [
                            {"updateDescription.updatedFields.rev": {"$exists": True}},
                            {"updateDescription.updatedFields.home": {"$exists": True}},
                        ],
                    },
                ]
            }
        },
        {"$project": {"documentKey": 1, "ns": 1}},
    ]


def job_stages(names: Names, key: str) -> list[dict[str, Any]]:
    """Every change of one job."""
    return [
        {"$match": {"ns.coll": names.collection(JOBS), "documentKey._id": key}},
        {"$project": {"documentKey": 1}},
    ]


def _queue_of(change: dict[str, Any]) -> str:
    key = str(change["documentKey"]["_id"])
    return key if key.count("/") == 1 else key[: -len(after_slash(key)) - 1]
