"""Model: enqueue."""

from __future__ import annotations

from collections.abc import Sequence

from queuekit.domain.job import BATCH_MAX, JobRecord, JobSpec, limits_error
from queuekit.domain.outcome import Enqueued, Home, Op, Receipt
from queuekit.domain.state import Line, State
from queuekit.errors import Arriving, Conflict, InvalidOption, Moved, PayloadTooLarge, QueueFull, Unsupported
from queuekit.testing.model.base import Base
from queuekit.testing.model.world import QueueData


class Produce(Base):
    async def enqueue(
        self, queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        with self.world.lock:
            q, now = self.queue(queue), self.world.now()
            known = q.recall(op)
            if known is not None:
                assert isinstance(known.answer, list)
                return Enqueued(now=now, receipts=known.answer, replayed=True)
            if within is not None:
                raise Unsupported("the model store writes within nobody's transaction")
            self._fit(jobs)
            conf = q.conf
            if conf.home in (Home.MOVING, Home.GONE):
                raise Moved(f"queue {queue} is {conf.home}: it lives in {conf.to}", to=conf.to)
            if conf.to is not None and not asked:
                raise Arriving(f"queue {queue}: jobs are still coming from {conf.to}: ask there first", to=conf.to)
            self._check(q, jobs, now)
            receipts = [self._add(q, spec, now) for spec in jobs]
            q.remember(op, now, receipts)
            if any(r.created for r in receipts):
                self.wake(q)
            return Enqueued(now=now, receipts=receipts)

    def _fit(self, jobs: Sequence[JobSpec]) -> None:
        """What no store would take, wherever the queue is."""
        if len(jobs) > BATCH_MAX:
            raise InvalidOption(f"{len(jobs)} jobs in one call are over the limit of {BATCH_MAX}")
        for spec in jobs:
            if spec.group is not None:
                raise Unsupported("this store has no groups")
            wrong = limits_error(spec.body, self.limit)
            if wrong is not None:
                raise PayloadTooLarge(f"job {spec.id}: {wrong}")

    def _check(self, q: QueueData, jobs: Sequence[JobSpec], now: int) -> None:
        """Everything that refuses the whole call, before anything is written."""
        new, keys = set[str](), set[str]()
        for spec in jobs:
            if spec.id in q.jobs or spec.id in new:
                continue
            key = spec.unique
            if key is not None and (key.key in keys or q.held(key.key, now)):
                if key.on_conflict == "error":
                    raise Conflict(f"job {spec.id}: the unique key {key.key!r} is held")
                continue
            new.add(spec.id)
            if key is not None:
                keys.add(key.key)
        size = q.conf.effective.max_size
        if size is not None and new:
            have = sum(j.state in (State.WAITING, State.DELAYED) for j in q.present)
            if have + len(new) > size:
                raise QueueFull(f"queue {q.name}: {have} jobs wait, {len(new)} more are over max_size {size}")

    def _add(self, q: QueueData, spec: JobSpec, now: int) -> Receipt:
        if spec.id in q.jobs:
            return Receipt(spec.id, False)
        due = spec.run_at if spec.run_at is not None else None if spec.delay is None else now + spec.delay
        if spec.unique is not None:
            holder = q.held(spec.unique.key, now)
            if holder is not None:
                if spec.unique.on_conflict == "replace" and holder.id in q.jobs:
                    self._replace(q, q.jobs[holder.id], spec, due, now)
                return Receipt(holder.id, False)
            q.take(spec.unique, spec.id, now)
        later = due is not None and due > now
        q.jobs[spec.id] = JobRecord(
            queue=q.name, id=spec.id, task=spec.task, body=spec.body, version=spec.version, priority=spec.priority,
            options=spec.options, state=State.DELAYED if later else State.WAITING, line=None if later else Line.READY,
            place=q.front() if spec.lifo else q.back(), created_at=now, run_at=due, rev=1,
            keep_completed=spec.keep_completed, keep_failed=spec.keep_failed, unique=spec.unique, trace=spec.trace,
            expires_at=spec.expires_at if spec.expires_in is None else now + spec.expires_in,
        )  # fmt: skip
        q.totals.enqueued += 1
        return Receipt(spec.id, True)

    def _replace(self, q: QueueData, job: JobRecord, spec: JobSpec, due: int | None, now: int) -> None:
        """Debounce: the holder of the key takes the new job's content and time, unless it runs, is parked or out."""
        if job.state not in (State.WAITING, State.DELAYED) or job.id in q.absent:
            return
        if spec.unique is not None and spec.unique.max_wait is not None and due is not None:
            due = min(due, job.created_at + spec.unique.max_wait)
        job.task, job.body, job.version, job.options, job.priority = (
            spec.task,
            spec.body,
            spec.version,
            spec.options,
            spec.priority,
        )
        later = due is not None and due > now
        job.state, job.line = (State.DELAYED, None) if later else (State.WAITING, job.line or Line.READY)
        job.run_at, job.place, job.rev = due, q.back(), job.rev + 1
        self.wake(q)
