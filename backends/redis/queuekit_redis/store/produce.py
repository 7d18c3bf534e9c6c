"""enqueue: jobs into a queue."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit.domain.job import JobSpec, limits_error
from queuekit.domain.outcome import Enqueued, Op
from queuekit.errors import PayloadTooLarge, Unsupported
from queuekit_redis.records import pack_spec
from queuekit_redis.replies import enqueued
from queuekit_redis.store.base import bounded
from queuekit_redis.store.within import Within


class Produce(Within):
    async def enqueue(
        self, queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        """One script for the whole call; see enqueue.lua."""
        bounded(len(jobs), "jobs")
        args: list[bytes | int] = [op.actor.encode(), op.n, self._moved(), 0, len(jobs)]
        specs: list[bytes] = []
        limit, kind = self._limit, 0
        for spec in jobs:
            if spec.group is not None:
                raise Unsupported("this store has no groups: leave `group` unset")
            if len(spec.body) > limit:
                raise PayloadTooLarge(f"job {spec.id}: {limits_error(spec.body, limit)}")
            kind = max(kind, pack_spec(spec, specs))
        if within is not None:
            return await self._join(queue, jobs, within, asked)
        args[3] = 3 if asked else kind
        named = await self._announce((queue,))
        reply = await self._call("enqueue", queue, [*args, *specs])
        if len(reply) > 3 and not named:  # the queue was removed since it was named
            await self._announce((queue,), anew=True)
        return enqueued(queue, op, [spec.id for spec in jobs], reply)
