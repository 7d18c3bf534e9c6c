"""Model: change, annotate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from queuekit.domain.job import JobRecord, limits_error
from queuekit.domain.outcome import Home, Op
from queuekit.domain.query import Change, Changed, No, Note, Verb
from queuekit.domain.state import TERMINAL, Line, Move, State
from queuekit.errors import PayloadTooLarge
from queuekit.testing.model.base import Base
from queuekit.testing.model.moving import is_held
from queuekit.testing.model.settle import end, to, wait_or_delay
from queuekit.testing.model.settle import note as keep
from queuekit.testing.model.world import QueueData


class Alter(Base):
    async def change(self, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
        with self.world.lock:
            q, now = self.queue(queue), self.world.now()
            known = q.recall(op)
            if known is not None:
                assert isinstance(known.answer, list)
                return list(known.answer)
            for change in changes:
                wrong = None if change.body is None else limits_error(change.body, self.limit)
                if wrong is not None:
                    raise PayloadTooLarge(f"job {change.id}: {wrong}")
            answers = [self._one(q, change, now) for change in changes]
            q.remember(op, now, answers)
            if any(answer.ok for answer in answers):
                self.wake(q)
            return answers

    def _one(self, q: QueueData, change: Change, now: int) -> Changed:
        job = q.jobs.get(change.id)
        if job is None:
            elsewhere = q.conf.home is not Home.HERE or q.conf.to is not None
            return Changed(id=change.id, ok=False, no=No.MOVED if elsewhere else No.GONE)
        if is_held(job) or job.id in q.absent:
            return Changed(id=change.id, ok=False, no=No.MOVED, state=job.state)
        if change.rev is not None and change.rev != job.rev:
            return Changed(id=job.id, ok=False, no=No.CHANGED, state=job.state)
        no = _VERBS[change.verb](q, job, change, now)
        after = q.jobs.get(change.id)
        return Changed(id=job.id, ok=no is None, no=no, state=None if after is None else after.state)

    async def annotate(self, queue: str, id: str, token: str, note: Note) -> bool:
        with self.world.lock:
            q = self.peek(queue)
            job = q.jobs.get(id)
            if job is None or job.state is not State.ACTIVE or job.token != token:
                return False
            keep(q, job, note)
            return True


def _cancel(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state in TERMINAL:
        return No.ILLEGAL
    reason = change.reason or ""
    if job.state is State.ACTIVE:
        job.cancel, job.rev = reason, job.rev + 1
        return None
    job.reason = reason
    end(q, job, Move.CANCEL, State.CANCELLED, now)
    return None


def _retry(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state is State.PARKED:
        return _reopen(q, job, change, now)
    if job.state not in TERMINAL:
        return No.ILLEGAL
    if job.unique is not None:
        holder = q.held(job.unique.key, now)
        if holder is not None and holder.id != job.id:
            return No.HELD
        if holder is None and job.unique.until != "time":
            q.take(job.unique, job.id, now)
    job.failures = job.crashes = job.snoozes = 0
    job.result = job.reason = job.ended_at = job.keep = job.expires_at = None
    wait_or_delay(q, job, Move.REVIVE, _due(change, now), now)
    return None


def _reopen(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state is not State.PARKED:
        return No.ILLEGAL
    to(job, Move.REOPEN, State.WAITING)
    job.reason = job.ended_at = None
    job.line, job.place, job.run_at = Line.READY, q.back(), now
    return None


def _promote(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state is not State.DELAYED:
        return No.ILLEGAL
    wait_or_delay(q, job, Move.PROMOTE, now, now)
    return None


def _reschedule(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state not in (State.WAITING, State.DELAYED):
        return No.ILLEGAL
    if change.priority is not None:
        job.priority = change.priority
    if change.run_at is None and change.delay is None:
        job.place, job.rev = q.back(), job.rev + 1
    else:
        wait_or_delay(q, job, Move.RESCHEDULE, _due(change, now), now)
    return None


def _replace(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state not in (State.WAITING, State.DELAYED, State.PARKED) or change.body is None:
        return No.ILLEGAL
    job.body, job.rev = change.body, job.rev + 1
    return None


def _delete(q: QueueData, job: JobRecord, change: Change, now: int) -> No | None:
    if job.state is State.ACTIVE:
        return No.ILLEGAL
    q.free(job, "finished")
    q.awaited.discard(job.id)
    del q.jobs[job.id]
    return None


def _due(change: Change, now: int) -> int:
    return change.run_at if change.run_at is not None else now + (change.delay or 0)


_VERBS: dict[Verb, Callable[[QueueData, JobRecord, Change, int], No | None]] = {
    Verb.CANCEL: _cancel, Verb.RETRY: _retry, Verb.PROMOTE: _promote, Verb.RESCHEDULE: _reschedule,
    Verb.REPLACE: _replace, Verb.REOPEN: _reopen, Verb.DELETE: _delete,
}  # fmt: skip
