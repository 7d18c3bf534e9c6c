"""Family alter: what people do to jobs, one verb a function, and notes of a running handler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from queuekit.domain.job import limits_error
from queuekit.domain.outcome import Home, Op
from queuekit.domain.query import Change, Changed, No, Note, Verb
from queuekit.domain.state import State
from queuekit.embedded import ends, ops, rows, uniques
from queuekit.embedded.produce import rebody
from queuekit.embedded.rows import ACTIVE, CANCELLED, COMPLETED, DELAYED, HELD, OUT, PARKED, READY, STATES, Job
from queuekit.embedded.work import Work
from queuekit.errors import PayloadTooLarge


def check(changes: Sequence[Change], limit: int) -> None:
    """What can be refused without looking."""
    for change in changes:
        wrong = None if change.body is None else limits_error(change.body, limit)
        if wrong is not None:
            raise PayloadTooLarge(f"job {change.id}: {wrong}")


def change(work: Work, changes: Sequence[Change], op: Op) -> list[Changed]:
    """Do each change alone; a repeated call gets the recorded answers."""
    conn, q = work.conn, work.ledger.q
    known = ops.recall(conn, q, op)
    if known is not None:
        return [
            Changed(id=name, ok=no is None, no=None if no is None else No(no), state=None if at is None else State(at))
            for name, no, at in known
        ]
    answers = [_one(work, asked) for asked in changes]
    ops.remember(conn, q, op, work.now, [(a.id, a.no and a.no.value, a.state and a.state.value) for a in answers])
    work.wake = work.wake or any(answer.ok for answer in answers)
    return answers


def _one(work: Work, asked: Change) -> Changed:
    job = rows.by_id(work.conn, work.ledger.q, [asked.id]).get(asked.id)
    if job is None:
        conf = work.ledger.conf
        elsewhere = conf.home is not Home.HERE or conf.to is not None
        return Changed(id=asked.id, ok=False, no=No.MOVED if elsewhere else No.GONE)
    if job.line >= OUT or rows.held(job):
        return Changed(id=job.id, ok=False, no=No.MOVED, state=STATES[job.line])
    if asked.rev is not None and asked.rev != job.rev:
        return Changed(id=job.id, ok=False, no=No.CHANGED, state=STATES[job.line])
    no = _VERBS[asked.verb](work, job, asked)
    ends.trim(work)
    after = rows.by_id(work.conn, work.ledger.q, [asked.id]).get(asked.id)
    return Changed(id=job.id, ok=no is None, no=no, state=None if after is None else STATES[after.line])


def annotate(work: Work, id: str, token: str, note: Note) -> bool:
    """Progress and log lines of a running job."""
    job = rows.by_id(work.conn, work.ledger.q, [id]).get(id)
    if job is None or job.line != ACTIVE or job.token != token:
        return False
    work.note(job, note)
    return True


def _cancel(work: Work, job: Job, asked: Change) -> No | None:
    reason = rows.text(asked.reason) or ""
    if job.line >= COMPLETED:
        return No.ILLEGAL
    if job.line == ACTIVE:
        work.conn.execute("UPDATE jobs SET cancel = ?, rev = rev + 1 WHERE n = ?", (reason, job.n))
    else:
        ends.end(work, job, CANCELLED, reason=reason)
    return None


def _retry(work: Work, job: Job, asked: Change) -> No | None:
    if job.line == PARKED:
        return _reopen(work, job, asked)
    if job.line < COMPLETED:
        return No.ILLEGAL
    if not uniques.retake(work, job):
        return No.HELD
    if job.keep is not None:
        ends.count(work, job.line, job.keep, -1)
    work.wait_or_delay(job, READY, _due(work, asked), failures=0, crashes=0, snoozes=0, result=None, reason=None,
                       keep=None, expires_at=None)  # fmt: skip
    return None


def _reopen(work: Work, job: Job, _: Change) -> No | None:
    if job.line != PARKED:
        return No.ILLEGAL
    work.wait_or_delay(job, READY, work.now, reason=None)
    return None


def _promote(work: Work, job: Job, _: Change) -> No | None:
    if job.line != DELAYED:
        return No.ILLEGAL
    work.wait_or_delay(job, READY, work.now)
    return None


def _reschedule(work: Work, job: Job, asked: Change) -> No | None:
    if job.line > DELAYED:
        return No.ILLEGAL
    priority = job.priority if asked.priority is None else asked.priority
    if asked.run_at is not None or asked.delay is not None:
        line = job.line if job.line <= HELD else READY
        work.wait_or_delay(job, line, _due(work, asked), priority=priority)
        return None
    place = work.ledger.last()
    if job.line == DELAYED:
        work.move(job, DELAYED, job.key1, 0, priority=priority, place=place)
    else:
        work.move(job, job.line, priority, place, priority=priority, place=place)
    return None


def _replace(work: Work, job: Job, asked: Change) -> No | None:
    if (job.line > DELAYED and job.line != PARKED) or asked.body is None:
        return No.ILLEGAL
    rebody(work, job.n, asked.body)
    work.conn.execute("UPDATE jobs SET rev = rev + 1 WHERE n = ?", (job.n,))
    return None


def _delete(work: Work, job: Job, _: Change) -> No | None:
    if job.line == ACTIVE:
        return No.ILLEGAL
    uniques.free(work, job)
    ends.remove(work, [job])
    work.ended.append(job.id)
    return None


def _due(work: Work, asked: Change) -> int:
    return asked.run_at if asked.run_at is not None else work.now + (asked.delay or 0)


_VERBS: Final[dict[Verb, Callable[[Work, Job, Change], No | None]]] = {
    Verb.CANCEL: _cancel, Verb.RETRY: _retry, Verb.PROMOTE: _promote, Verb.RESCHEDULE: _reschedule,
    Verb.REPLACE: _replace, Verb.REOPEN: _reopen, Verb.DELETE: _delete,
}  # fmt: skip
