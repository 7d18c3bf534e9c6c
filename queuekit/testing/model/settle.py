"""How the model moves single jobs between states; every family uses these and nothing else changes a state."""

from __future__ import annotations

from queuekit.domain.job import ERRORS_KEPT, LOGS_KEPT, JobRecord, Retention
from queuekit.domain.limits import kept_awaited
from queuekit.domain.outcome import Kind, Outcome, Refusal
from queuekit.domain.query import Note
from queuekit.domain.state import TERMINAL, Line, Move, State, allowed
from queuekit.testing.model.world import QueueData, by_age

_MOVES = {
    Kind.COMPLETED: Move.COMPLETE, Kind.FAILED: Move.FAIL, Kind.CANCELLED: Move.CANCEL, Kind.RETRY: Move.RETRY,
    Kind.SNOOZED: Move.SNOOZE, Kind.RELEASED: Move.RELEASE, Kind.PARKED: Move.PARK,
}  # fmt: skip
_ENDS = {Kind.COMPLETED: State.COMPLETED, Kind.FAILED: State.FAILED, Kind.CANCELLED: State.CANCELLED}
_GIVES_WAY = (Kind.RETRY, Kind.SNOOZED, Kind.RELEASED, Kind.PARKED)


def to(job: JobRecord, move: Move, state: State) -> None:
    """Change a state by the one table; anything else is a bug of the model."""
    assert state in allowed(job.state, move), f"{job.state} -{move}-> {state}"
    job.state = state
    job.rev += 1
    if state is not State.ACTIVE:
        job.lease_until = None
    if state not in (State.WAITING, State.ACTIVE):
        job.line = None
    if state in (State.WAITING, State.DELAYED, State.PARKED):
        job.token = None


def wait_or_delay(q: QueueData, job: JobRecord, move: Move, due: int, now: int) -> None:
    """At the back of its priority if due, else among the delayed."""
    line = job.line if move is Move.RESCHEDULE else None
    job.run_at = due
    if due > now:
        to(job, move, State.DELAYED)
    else:
        to(job, move, State.WAITING)
        job.line, job.place = line or Line.READY, q.back()


def end(q: QueueData, job: JobRecord, move: Move, state: State, now: int, keep: Retention | None = None) -> None:
    """End a job and apply its retention: its own, else the worker's `keep`, else the queue's."""
    to(job, move, state)
    job.ended_at, job.cancel = now, None
    q.free(job, "finished")
    if state is State.COMPLETED:
        q.totals.completed += 1
    elif state is State.FAILED:
        q.totals.failed += 1
    else:
        q.totals.cancelled += 1
    own = (job.keep_completed if state is State.COMPLETED else job.keep_failed) or keep
    job.keep = None if own is None else own.label
    kept = q.kept(job)
    if job.id in q.awaited:
        q.awaited.discard(job.id)
        longer = kept_awaited(kept)
        if longer != kept:
            job.keep, kept = longer.label, longer
    if kept.count == 0:
        del q.jobs[job.id]
    else:
        trim(q, state, job.keep)


def trim(q: QueueData, state: State, label: str | None, limit: int = 1000) -> int:
    """Remove the oldest ended jobs over the count of one retention class; only jobs that carry it."""
    members = by_age(j for j in q.present if j.state is state and j.keep == label)
    count = q.kept(members[0]).count if members else None
    over = [] if count is None else members[: max(0, len(members) - count)][:limit]
    for job in over:
        del q.jobs[job.id]
    return len(over)


def settle(q: QueueData, outcome: Outcome, now: int, limit: int) -> Refusal | None:
    """Apply one outcome, or say why not."""
    job = q.jobs.get(outcome.id)
    if job is None:
        return Refusal.GONE
    if job.state is not State.ACTIVE or job.token != outcome.token:
        return Refusal.LOST
    if outcome.kind not in _MOVES:
        return Refusal.ILLEGAL
    if outcome.result is not None and len(outcome.result) > limit:
        return Refusal.TOO_LARGE
    note(q, job, Note(progress=outcome.progress, logs=outcome.logs, start=outcome.start))
    if outcome.error is not None:
        job.errors = (*job.errors, outcome.error)[-ERRORS_KEPT:]
    kind, reason, token = outcome.kind, outcome.reason, job.token
    if job.cancel is not None and kind in _GIVES_WAY:
        kind, reason = Kind.CANCELLED, job.cancel
    if kind is Kind.COMPLETED:
        job.result = outcome.result
    if kind in _ENDS:
        job.reason = reason
        end(q, job, _MOVES[kind], _ENDS[kind], now, outcome.keep)
    elif kind is Kind.RELEASED:
        to(job, Move.RELEASE, State.WAITING)
        q.totals.released += 1
    elif kind is Kind.PARKED:
        to(job, Move.PARK, State.PARKED)
        job.reason, job.ended_at = reason, now
    else:
        due = outcome.at if outcome.at is not None else now + (outcome.delay or 0)
        wait_or_delay(q, job, _MOVES[kind], due, now)
        if kind is Kind.RETRY:
            job.failures, q.totals.retried = job.failures + 1, q.totals.retried + 1
        else:
            job.snoozes += 1
    if job.state in TERMINAL:
        job.token = token
    return None


def note(q: QueueData, job: JobRecord, said: Note) -> None:
    """Keep what a handler reported; of lines that this claim reported before, nothing."""
    if said.progress is not None:
        job.progress = said.progress
    if said.logs:
        token, known = q.taken.get(job.id, (None, 0))
        known = known if token == job.token else 0
        start = known if said.start is None else said.start
        q.taken[job.id] = (job.token, max(known, start + len(said.logs)))
        job.logs = (*job.logs, *said.logs[max(0, known - start) :])[-LOGS_KEPT:]
