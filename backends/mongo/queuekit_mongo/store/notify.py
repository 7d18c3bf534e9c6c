"""The family `wait` and `watch`: a change stream where there is one, else looks at an interval."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from queuekit.domain.job import JobRecord
from queuekit.domain.state import TERMINAL
from queuekit_mongo import pages, queries
from queuekit_mongo.collections import JOBS
from queuekit_mongo.store.read import get
from queuekit_mongo.store.room import Room
from queuekit_mongo.wakeup import POLL


async def wait(room: Room, queues: Sequence[str], timeout: int) -> list[str]:
    async def look() -> list[str]:
        keys = {queue: room.names.queue(queue) for queue in queues}
        return [queue for queue, key in keys.items() if await room.port.find(pages.any_waiting(key))]

    if not queues:
        await room.port.sleep(timeout / 1000)
        return []
    if room.replica:
        return await room.listeners.work(queues, timeout / 1000, look)
    return await _poll(room, timeout / 1000, look)


async def watch(room: Room, queue: str, id: str, timeout: int) -> JobRecord | None:
    key = room.names.job(queue, id)
    await room.port.bulk(JOBS, [queries.await_job(key)])

    async def look() -> list[JobRecord | None]:
        (job,) = await get(room, queue, [id])
        return [job] if job is None or job.state in TERMINAL else []

    deadline = room.port.monotonic() + timeout / 1000
    while True:
        seen = await look()
        left = deadline - room.port.monotonic()
        if seen or left <= 0:
            (job,) = seen or await get(room, queue, [id])
            return job
        if room.replica:
            await room.listeners.ended(key, left, look)
        else:
            await _poll(room, left, look)


async def _poll(room: Room, timeout: float, look: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """What `look` finds, asked every POLL seconds; [] after `timeout`. The first look is after the first pause:
    callers come here because they just found nothing."""
    deadline = room.port.monotonic() + timeout
    while (left := deadline - room.port.monotonic()) > 0:
        await room.port.sleep(min(POLL, left))
        found = await look()
        if found:
            return found
    return []
